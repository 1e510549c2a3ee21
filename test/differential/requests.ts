// Token requests (RFC 6749 §4.1.3, §4.4.2, §6) as an application sends them: in the plainest form, which the variations
// depart from.

import type { Code, Draft } from './pair.ts';
import { secrets } from './world.ts';

/** What one side has to send: each has its own. */
export interface Own {
  clientId: string;
  /** Undefined: it has none. */
  secret: string | undefined;
  code?: Code | undefined;
  /** What it has to name in each request. */
  resource?: string | undefined;
  /** Newest last; all but the last one are spent. */
  refreshTokens: readonly string[];
  accessToken?: string | undefined;
  idToken?: string | undefined;
  others: Others;
}

/** Of other applications and people, and what nobody issued. */
export interface Others {
  refreshToken: string;
  code: Code;
  accessToken: string;
  idToken: string;
  serviceToken: string;
  logoutToken: string;
  /** Signed by us, and of the form of a refresh token, around a handle that there is not. */
  unknownHandle: string;
  /** The same, of another issuer, for another audience, without a handle, and long expired. */
  foreign: Readonly<Record<'issuer' | 'audience' | 'handle' | 'expired' | 'type', string>>;
}

/** One way to depart from a request. */
export type Variation = (draft: Draft, own: Own) => void;
export type Variations = Readonly<Record<string, Variation>>;

export type GrantType = 'client_credentials' | 'refresh_token' | 'authorization_code';

export const form = 'application/x-www-form-urlencoded';

export function plainRequest(grantType: GrantType, own: Own, address: string): Draft {
  const { clientId, secret, code, refreshTokens, resource } = own;
  const draft: Draft = {
    method: 'POST',
    target: '/token',
    headers: { 'content-type': form, 'x-forwarded-for': address },
    fields: [['grant_type', grantType]],
  };
  if (grantType === 'refresh_token') add(draft, 'refresh_token', refreshTokens.at(-1) ?? 'none');
  if (grantType === 'authorization_code') {
    add(draft, 'code', code?.code ?? 'none');
    add(draft, 'redirect_uri', code?.redirectUri ?? 'none');
    if (code?.verifier !== undefined) add(draft, 'code_verifier', code.verifier);
  }
  if (resource !== undefined) add(draft, 'resource', resource);
  if (secret === undefined) add(draft, 'client_id', clientId);
  else draft.headers.authorization = basic(clientId, secret);
  return draft;
}

export function ownOf({ others }: { others: Others }, clientId: string, known: Partial<Own> = {}): Own {
  return { clientId, secret: secrets[clientId], refreshTokens: [], others, ...known };
}

/** RFC 6749 §2.3.1: both halves are form-encoded before they are joined. */
export const basic = (clientId: string, secret: string) =>
  `Basic ${Buffer.from(`${encoded(clientId)}:${encoded(secret)}`).toString('base64')}`;

export const encoded = (text: string) => new URLSearchParams([['', text]]).toString().slice(1);

export function add(draft: Draft, name: string, value: string): void {
  draft.fields.push([name, value]);
}

export function drop(draft: Draft, name: string): void {
  draft.fields = draft.fields.filter(([known]) => known !== name);
}

export function set(draft: Draft, name: string, value: string): void {
  drop(draft, name);
  add(draft, name, value);
}

export const valueOf = ({ fields }: Draft, name: string) => fields.find(([known]) => known === name)?.[1];

/** Moves the credentials from the header into the form, or the name alone where there is no secret. */
export function authenticateInForm(draft: Draft, { clientId, secret }: Own): void {
  delete draft.headers.authorization;
  set(draft, 'client_id', clientId);
  if (secret !== undefined) set(draft, 'client_secret', secret);
}
