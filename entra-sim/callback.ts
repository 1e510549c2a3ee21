// The way back to the application: what the callback URL carries, in which response mode, and how tests bend it.

import { randomUUID } from 'node:crypto';

import type { Aadsts, Trace } from './aadsts.ts';
import type { Reply } from './exchange.ts';
import { html, redirect } from './exchange.ts';
import { autoSubmitPage, messagePage } from './pages.ts';
import type { Facts, Rule } from './rules.ts';
import type { AuthorizeRequest, Simulation } from './simulation.ts';

/** What the next callback looks like instead. Applies once unless `times` says otherwise. */
export interface CallbackDoctoring extends Rule {
  /** Returns this error and no code. */
  error?: string;
  errorDescription?: string;
  /** 'cancel' is what Entra sends when the person declined. */
  errorSubcode?: string;
  /** Leaves parameters out, for example ['state'] or ['code']. */
  omit?: readonly string[];
  /** Sets parameters, for example { state: 'altered' } or { error: 'x' } beside a code. */
  set?: Record<string, string>;
  /** Sends these parameters twice. */
  duplicate?: readonly string[];
  /** Answers as the return of an administrator's consent: admin_consent=True and tenant, no code. */
  adminConsent?: true;
  /** A page of Microsoft's that leads nowhere. */
  neverReturns?: true;
  /** The second factor took this long: the password, and so auth_time, is that much older than the code. */
  mfaSeconds?: number;
}

type Parameters = Record<string, string>;
type CallbackTarget = Pick<AuthorizeRequest, 'redirectUri' | 'responseMode' | 'state'>;

/** Sends `parameters` to the application, bent by `doctoring`. */
export function deliver(target: CallbackTarget, parameters: Parameters, doctoring: CallbackDoctoring = {}): Reply {
  if (doctoring.neverReturns) return html(messagePage('Something went wrong', 'This page does not lead back.'));
  const own = doctoring.adminConsent ? adminConsent(parameters) : doctoredError(parameters, doctoring);
  const state = target.state === undefined ? {} : { state: target.state };
  const all = Object.entries({ ...own, ...state, ...doctoring.set });
  const kept = all.filter(([name]) => !doctoring.omit?.includes(name));
  const pairs = kept.flatMap((pair) => (doctoring.duplicate?.includes(pair[0]) ? [pair, pair] : [pair]));

  if (target.responseMode === 'form_post') return html(autoSubmitPage(target.redirectUri, pairs));
  const sent = new URLSearchParams(pairs).toString();
  if (target.responseMode === 'fragment') return redirect(`${target.redirectUri}#${sent}`);
  return redirect(`${target.redirectUri}${target.redirectUri.includes('?') ? '&' : '?'}${sent}`);
}

/** The same for a failure that Entra reports to the application rather than to the person. */
export function deliverError(
  sim: Simulation,
  request: CallbackTarget,
  error: Aadsts,
  trace: Trace,
  facts: Facts,
): Reply {
  const subcode: Parameters = error.number === 65004 ? { error_subcode: 'cancel' } : {};
  const parameters = { error: error.error, ...subcode, error_description: error.description(trace) };
  return deliver(request, parameters, sim.callbacks.take(facts));
}

function doctoredError(parameters: Parameters, doctoring: CallbackDoctoring): Parameters {
  if (doctoring.error === undefined) return parameters;
  return {
    error: doctoring.error,
    ...(doctoring.errorSubcode === undefined ? {} : { error_subcode: doctoring.errorSubcode }),
    error_description: doctoring.errorDescription ?? `AADSTS65004: ${doctoring.error}.`,
  };
}

function adminConsent({ tenant = randomUUID() }: Parameters): Parameters {
  return { admin_consent: 'True', tenant, scope: 'https://graph.microsoft.com/.default' };
}
