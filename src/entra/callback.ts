// The callback of Entra's (the authorization response, OIDC Core §3.1.2.5): a code, an error, or the return of an
// administrator who approved the application. Everything else is refused before anything is looked up. What came is
// given out with the sign-in that it belongs to, once, and to the browser that began it.

import type { Context } from 'koa';
import { AppError } from '../errors.ts';
import { endpoints } from '../web/endpoints.ts';
import type { BrowserCookie } from './cookie.ts';
import { EntraError } from './errors.ts';
import { type OAuthErrorResponse, readErrorResponse } from './oauth-error.ts';
import type { BegunSignIn, SignInReply, States } from './state.ts';

export const entraCallbackPath = endpoints.entra_callback.path;
export const resumePath = endpoints.entra_resume.path;

type CallbackParameters = SignInReply | { kind: 'approval'; outcome: 'consent_given' | 'consent_declined' };

const longestCode = 8192;
const longestState = 128;

export interface EntraCallback {
  /** What a request brings back, and the sign-in that it belongs to: used once, and this browser's. */
  take(ctx: Context): Promise<{ reply: SignInReply; begun: BegunSignIn }>;
  /** See EntraConnector. */
  stash(form: ReadonlyMap<string, string>): Promise<string>;
}

interface EntraCallbackParts {
  responseMode: 'query' | 'form_post';
  redirectUri: string;
  /** The client and tenant that sign-ins are begun with now. */
  appKey: string;
  states: States;
  cookie: BrowserCookie;
  /** @throws {EntraError} while nothing may be asked of Microsoft */
  checkReachable(): void;
}

export function createCallback(parts: EntraCallbackParts): EntraCallback {
  const { responseMode, redirectUri, appKey, states, cookie, checkReachable } = parts;

  return {
    async take(ctx) {
      const isResume = ctx.path === resumePath;
      const parameters = new URLSearchParams(ctx.querystring);
      const direct = isResume ? undefined : readCallback(parameters);
      if (direct?.kind === 'approval') throw new EntraError(direct.outcome);
      if (direct && responseMode === 'form_post') throw new EntraError('lost', { reason: 'wrong_response_mode' });
      // Before the state is used up: whoever reloads the page in a moment can go on.
      if (direct?.kind !== 'refused') checkReachable();

      const state = direct?.state ?? parameters.get('state') ?? '';
      const taken = await states.take(state, cookie.get(ctx, state), { isStashed: isResume });
      const reply = direct ?? taken?.stashed;
      if (!taken || !reply) throw new EntraError('lost', { reason: 'unknown_state' });
      cookie.clear(ctx, state);
      const { begun } = taken;
      if (begun.app !== appKey || begun.redirectUri !== redirectUri) {
        throw new EntraError('lost', { reason: 'configuration_changed', uid: begun.uid });
      }
      return { reply, begun };
    },

    async stash(form) {
      if (responseMode === 'query') throw new EntraError('lost', { reason: 'wrong_response_mode' });
      const reply = readCallback(form);
      if (reply.kind === 'approval') throw new EntraError(reply.outcome);
      if (!(await states.stash(reply))) throw new EntraError('lost', { reason: 'unknown_state' });
      return `${resumePath}?${new URLSearchParams({ state: reply.state })}`;
    },
  };
}

/** @throws {AppError} entra_malformed_callback (400) */
function readCallback(parameters: URLSearchParams | ReadonlyMap<string, string>): CallbackParameters {
  const given = unique(parameters);
  const { code, error, state = '' } = given;
  if (code !== undefined && error !== undefined) throw malformed('It carries both a code and an error.');
  if (code === undefined && error === undefined && given['admin_consent'] !== undefined) {
    return { kind: 'approval', outcome: 'consent_given' };
  }
  if (isDeclinedApproval(given)) return { kind: 'approval', outcome: 'consent_declined' };
  if (state === '' || state.length > longestState) throw malformed('It belongs to no sign-in.');
  if (error !== undefined) return { kind: 'refused', state, refusal: refusalFrom(given, error) };
  if (code === undefined || code === '') throw malformed('It carries neither a code nor an error.');
  if (code.length > longestCode) throw malformed('Its code is too long.');
  return { kind: 'code', state, code };
}

/** An administrator who was to approve the application did not. That page of Microsoft's knows no sign-in of ours. */
function isDeclinedApproval({ error, state = '', ...given }: Record<string, string>): boolean {
  if (error === undefined || state !== '') return false;
  return given['admin_consent'] !== undefined || error === 'permission_denied' || error === 'access_denied';
}

function refusalFrom(given: Record<string, string>, error: string): OAuthErrorResponse {
  // Entra's own word for "the person pressed Cancel", which comes with various errors.
  if (given['error_subcode'] === 'cancel') return { error: 'access_denied', numbers: [65004] };
  const { error_description, claims } = given;
  return readErrorResponse({ error, error_description, claims }) ?? { error: 'unreadable', numbers: [] };
}

/** Two readers of a repeated parameter might each take another one (RFC 6749 §3.1). */
function unique(parameters: URLSearchParams | ReadonlyMap<string, string>): Record<string, string> {
  const given: Record<string, string> = Object.create(null);
  for (const [name, value] of parameters) {
    if (name in given) throw malformed('A parameter stands in it twice.');
    given[name] = value;
  }
  return given;
}

function malformed(reason: string): AppError {
  return new AppError(
    'entra_malformed_callback',
    400,
    `The answer of the sign-in cannot be read. ${reason} Go back to the application and start again.`,
  );
}
