// The authorization request to Entra (OIDC Core §3.1.2.1), as a pure function of what was asked of us: hints of who is
// meant, prompt, max_age, acr_values. Nothing here sends it; that is connector.ts.

import { domainToASCII } from 'node:url';
import type { EntraConfig } from '../config/config.ts';

/** The account that the Microsoft account is to be connected to: the same browser has just proved its password. */
export interface ConnectTo {
  accountId: string;
  /** When it had last been signed out everywhere as that was proved: epoch milliseconds. */
  signedOutAt?: number;
}

export interface BeginOptions {
  /** An address: the downstream request's, or what the person typed. */
  loginHint?: string;
  /** The `loginHint` of the EntraIdentity who is to sign in anew. It goes before an address, which may have changed. */
  knownHint?: string;
  domainHint?: string;
  /** The downstream prompt, space-separated values allowed (OIDC Core §3.1.2.1). */
  prompt?: string;
  /** The downstream max_age, in seconds. */
  maxAge?: number;
  /** The downstream acr_values, in order of preference. */
  acrValues?: readonly string[];
  /** Goes along, sealed, and comes back with this trip and no other. */
  connectTo?: ConnectTo;
}

interface AuthorizationParameters {
  prompt?: 'login' | 'select_account' | 'none';
  loginHint?: string;
  domainHint?: string;
  /** What is sent. */
  maxAgeSeconds?: number;
  /** How old the authentication may be, in seconds, when it comes back. */
  oldestSeconds?: number;
  /** The acr that the application asked for, and the authentication context that stands for it here. */
  stepUp?: { acr: string; context: string };
  claims?: string;
}

// An ID token ends with the age that was asked for (msal-python #444), so less could hardly be used in time.
const leastMaxAgeSeconds = 60;
const longestHint = 320; // a local part of 64, @, a domain of 255 (RFC 3696 §3)

/** @param challenge claims that Microsoft itself asked for after a first attempt */
export function authorizationParameters(
  config: EntraConfig,
  asked: BeginOptions,
  challenge?: string,
): AuthorizationParameters {
  const { maxAge } = asked;
  const prompt = promptFor(asked);
  const stepUp = stepUpFor(config, asked.acrValues ?? []);
  const claims = claimsFor({ stepUp, withAuthTime: maxAge !== undefined, challenge });
  // Entra refuses the two together, and who wants to choose an account wants no account chosen.
  const loginHint = prompt === 'select_account' ? undefined : (asked.knownHint ?? hint(asked.loginHint));
  const domainHint = /^[a-z0-9.-]{1,253}$/i.exec(asked.domainHint ?? '')?.[0];
  return {
    ...(prompt && { prompt }),
    ...(loginHint && { loginHint }),
    ...(domainHint && { domainHint }),
    ...(maxAge !== undefined && { oldestSeconds: Math.max(maxAge, leastMaxAgeSeconds) }),
    ...(maxAge !== undefined && maxAge > 0 && { maxAgeSeconds: Math.max(maxAge, leastMaxAgeSeconds) }),
    ...(stepUp && { stepUp }),
    ...(claims && { claims }),
  };
}

function promptFor({ prompt = '', maxAge }: BeginOptions): AuthorizationParameters['prompt'] {
  const asked = prompt.split(' ');
  if (asked.includes('none')) return 'none';
  // max_age=0 would be an ID token that has expired when it is made.
  if (asked.includes('login') || maxAge === 0) return 'login';
  // consent is ours to ask: what a person allows an application here is no business of Microsoft's.
  return asked.includes('select_account') ? 'select_account' : undefined;
}

function hint(value: string | undefined): string | undefined {
  if (value === undefined || value.length > longestHint || /[\p{Cc}\p{Cs}]/u.test(value)) return undefined;
  return value;
}

function stepUpFor({ acrValues }: EntraConfig, asked: readonly string[]): AuthorizationParameters['stepUp'] {
  for (const acr of asked) {
    const context = Object.hasOwn(acrValues, acr) ? acrValues[acr] : undefined;
    if (context !== undefined) return { acr, context };
  }
  return undefined;
}

function claimsFor({
  stepUp,
  withAuthTime,
  challenge,
}: {
  stepUp: AuthorizationParameters['stepUp'];
  withAuthTime: boolean;
  challenge: string | undefined;
}): string | undefined {
  const asked = challenge === undefined ? {} : (JSON.parse(challenge) as Record<string, object | undefined>);
  const idToken = {
    ...asked['id_token'],
    ...(stepUp && { acrs: { essential: true, value: stepUp.context } }),
    ...(withAuthTime && { auth_time: { essential: true } }),
  };
  const all = { ...asked, ...(Object.keys(idToken).length > 0 && { id_token: idToken }) };
  return Object.keys(all).length > 0 ? JSON.stringify(all) : undefined;
}

/** Whether people with this address sign in at Microsoft. */
export function belongsToMicrosoft({ domains }: EntraConfig, email: string): boolean {
  const domain = domainOf(email);
  return domain !== undefined && domains.includes(domain);
}

/** In the form that the configuration has it in: lower case, IDNA. Undefined: that is no address. */
function domainOf(email: string): string | undefined {
  const domain = /^.+@([^\s@/:?#\\]+)$/.exec(email.trim())?.[1];
  return domain === undefined ? undefined : domainToASCII(domain);
}

/** What to tell Microsoft of an address or a hint from the application: whose page to show, and for whom. */
export function hintsFor(config: EntraConfig, { email, domainHint }: { email?: string; domainHint?: string }) {
  const domain = email !== undefined && belongsToMicrosoft(config, email) ? domainOf(email) : domainHint;
  return { loginHint: email, domainHint: domain };
}
