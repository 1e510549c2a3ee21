// What is presented: refresh tokens (RFC 6749 §6), codes and verifiers (RFC 7636 §4.6), and what is none of them.

import { hash } from 'node:crypto';
import { decode } from '../../support/user-agent.ts';
import type { Draft } from '../pair.ts';
import { add, drop, type Own, set, type Variation, type Variations, valueOf } from '../requests.ts';

const token =
  (make: (token: string, own: Own) => string | undefined): Variation =>
  (draft, own) =>
    set(draft, 'refresh_token', make(own.refreshTokens.at(-1) ?? '', own) ?? 'none');
const code =
  (make: (code: string, own: Own) => string): Variation =>
  (draft, own) =>
    set(draft, 'code', make(own.code?.code ?? 'none', own));
const verifier = (make: (verifier: string) => string) => (draft: Draft) =>
  set(draft, 'code_verifier', make(valueOf(draft, 'code_verifier') ?? 'v'.repeat(43)));
const redirect = (uri: string) => (draft: Draft) => set(draft, 'redirect_uri', uri);

/** The handle in a refresh token: all of one that is opaque. */
function handleOf(refreshToken: string): string {
  if (!refreshToken.startsWith('eyJ')) return refreshToken;
  return String(decode(refreshToken).payload.jti);
}

function resigned(refreshToken: string, header: object, claims: object = {}): string {
  if (!refreshToken.startsWith('eyJ')) return refreshToken;
  const { header: before, payload } = decode(refreshToken);
  const parts = [
    { ...before, ...header },
    { ...payload, ...claims },
  ];
  const signature = refreshToken.slice(refreshToken.lastIndexOf('.'));
  return parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.') + signature;
}

/** One letter of a text, changed. */
function altered(text: string, at: number): string {
  const position = at < 0 ? text.length + at : at;
  return text.slice(0, position) + (text[position] === 'A' ? 'B' : 'A') + text.slice(position + 1);
}

export const refreshTokens: Variations = {
  'without a refresh token': (draft) => drop(draft, 'refresh_token'),
  'with an empty refresh token': token(() => ''),
  'with the refresh token twice': (draft, { refreshTokens: all }) => add(draft, 'refresh_token', all.at(-1) ?? 'none'),
  'with its handle alone': token(handleOf),
  'with its handle, altered': token((refreshToken) => altered(handleOf(refreshToken), -1)),
  'with the beginning of its handle': token((refreshToken) => handleOf(refreshToken).slice(0, 22)),
  'with the digest of its handle': token((refreshToken) => hash('sha256', handleOf(refreshToken), 'base64url')),
  'with an altered signature': token((refreshToken) => altered(refreshToken, -9)),
  'with an altered payload': token((refreshToken) => altered(refreshToken, refreshToken.indexOf('.') + 9)),
  'without its signature': token((refreshToken) => refreshToken.slice(0, refreshToken.lastIndexOf('.') + 1)),
  'with two parts of it': token((refreshToken) => refreshToken.slice(0, refreshToken.lastIndexOf('.'))),
  'with a fourth part': token((refreshToken) => `${refreshToken}.AAAA`),
  'with a space before it': token((refreshToken) => ` ${refreshToken}`),
  'with a space after it': token((refreshToken) => `${refreshToken} `),
  'with padding after it': token((refreshToken) => `${refreshToken}=`),
  'with alg=none': token((refreshToken) => resigned(refreshToken, { alg: 'none' })),
  'with alg=HS256': token((refreshToken) => resigned(refreshToken, { alg: 'HS256' })),
  'with a key that nobody knows': token((refreshToken) => resigned(refreshToken, { kid: 'unknown' })),
  'with its kid in another header': token((refreshToken) => resigned(refreshToken, { x: 1 })),
  'with a later end': token((refreshToken) => resigned(refreshToken, {}, { exp: 4_000_000_000 })),
  'with a key that nobody knows and a later end': token((refreshToken) =>
    resigned(refreshToken, { kid: 'unknown' }, { exp: 4_000_000_000 }),
  ),
  'with an end that is no number': token((refreshToken) =>
    resigned(refreshToken, { kid: 'unknown' }, { exp: 'never' }),
  ),
  "with another application's refresh token": token((_token, { others }) => others.refreshToken),
  'with its access token': token((_token, { accessToken, others }) => accessToken ?? others.accessToken),
  'with its ID token': token((_token, { idToken, others }) => idToken ?? others.idToken),
  "with a service's token": token((_token, { others }) => others.serviceToken),
  'with a logout token': token((_token, { others }) => others.logoutToken),
  'with a code': token((_token, { others, code: own }) => (own ?? others.code).code),
  'with a token of ours around no handle': token((_token, { others }) => others.unknownHandle),
  'with a token of another issuer': token((_token, { others }) => others.foreign.issuer),
  'with a token for another audience': token((_token, { others }) => others.foreign.audience),
  'with a token without a handle': token((_token, { others }) => others.foreign.handle),
  'with a token that expired long ago': token((_token, { others }) => others.foreign.expired),
  'with a token of another type': token((_token, { others }) => others.foreign.type),
  'with a handle that nobody made': token(() => 'A'.repeat(43)),
  'with a handle with a dot that nobody made': token(() => `${'A'.repeat(22)}.${'B'.repeat(43)}`),
  'with dots as a token': token(() => '..'),
  'with garbage as a token': token(() => 'garbage %&/()"\'; drop table oidc_models'),
  'with a null character in the token': token((refreshToken) => `${refreshToken}\0`),
  'with letters beyond ASCII as a token': token(() => 'größe'),
  'with 9 kB as a token': token(() => `eyJhbGciOiJSUzI1NiJ9.${'A'.repeat(9_000)}.AAAA`),
  'with 50 kB as a token': token(() => 'A'.repeat(50_000)),
  'with [object Object] as a token': token(() => '[object Object]'),
};

/** Of whoever has spent one: what was good once. Each use may end the grant. */
export const spentTokens: Variations = {
  'with the token before': token((_token, { refreshTokens: all }) => all.at(-2)),
  'with the token before that': token((_token, { refreshTokens: all }) => all.at(-3)),
  'with the first token': token((_token, { refreshTokens: all }) => all[0]),
  'with the token before, and scope=openid': (draft, own) => {
    token((_token, { refreshTokens: all }) => all.at(-2))(draft, own);
    set(draft, 'scope', 'openid');
  },
  'with the token before, and a scope that it never had': (draft, own) => {
    token((_token, { refreshTokens: all }) => all.at(-2))(draft, own);
    set(draft, 'scope', 'stock:read ledger:read');
  },
  'with the token before, for an API that there is not': (draft, own) => {
    token((_token, { refreshTokens: all }) => all.at(-2))(draft, own);
    set(draft, 'resource', 'https://nothing.example.com');
  },
  'with the token before, from another network': (draft, own) => {
    token((_token, { refreshTokens: all }) => all.at(-2))(draft, own);
    draft.headers['x-forwarded-for'] = '203.0.113.99';
  },
  'with the token before, as another application': (draft, own) => {
    token((_token, { refreshTokens: all }) => all.at(-2))(draft, own);
    delete draft.headers.authorization;
    set(draft, 'client_id', own.clientId === 'device' ? 'spa' : 'device');
  },
  'with the handle before': token((_token, { refreshTokens: all }) => handleOf(all.at(-2) ?? 'none')),
  'with the token before, and a key that nobody knows': token((_token, { refreshTokens: all }) =>
    resigned(all.at(-2) ?? 'none', { kid: 'unknown' }),
  ),
};

export const codes: Variations = {
  'without a code': (draft) => drop(draft, 'code'),
  'with an empty code': code(() => ''),
  'with the code twice': (draft, own) => add(draft, 'code', own.code?.code ?? 'none'),
  'with a code that nobody made': code(() => 'A'.repeat(43)),
  'with an altered code': code((made) => altered(made, -1)),
  'with a code in capitals': code((made) => made.toUpperCase()),
  'with a space after the code': code((made) => `${made} `),
  'with a null character in the code': code((made) => `${made}\0`),
  'with a code of 5,000 letters': code(() => 'c'.repeat(5_000)),
  'with the digest of the code': code((made) => hash('sha256', made, 'base64url')),
  "with another application's code": (draft, { others }) => {
    set(draft, 'code', others.code.code);
    set(draft, 'code_verifier', others.code.verifier ?? '');
    set(draft, 'redirect_uri', others.code.redirectUri);
  },
  'with a refresh token as code': code((_made, { refreshTokens: all, others }) => all.at(-1) ?? others.refreshToken),
  'without a verifier': (draft) => drop(draft, 'code_verifier'),
  'with an empty verifier': verifier(() => ''),
  'with another verifier': verifier(() => 'w'.repeat(43)),
  'with an altered verifier': verifier((made) => altered(made, 3)),
  'with a short verifier': verifier((made) => made.slice(0, 42)),
  'with a verifier of 128 letters': verifier(() => 'v'.repeat(128)),
  'with a verifier of 129 letters': verifier(() => 'v'.repeat(129)),
  'with a verifier of other characters': verifier((made) => `${made.slice(0, 42)}!`),
  'with a space after the verifier': verifier((made) => `${made} `),
  'with the challenge as verifier': verifier((made) => hash('sha256', made, 'base64url')),
  'with the verifier twice': (draft) => add(draft, 'code_verifier', valueOf(draft, 'code_verifier') ?? 'v'.repeat(43)),
  'with a code_challenge_method': (draft) => add(draft, 'code_challenge_method', 'plain'),
  'without a redirect_uri': (draft) => drop(draft, 'redirect_uri'),
  'with an empty redirect_uri': redirect(''),
  'with another redirect_uri': redirect('https://app.example.com/other'),
  'with a slash after the redirect_uri': redirect('https://app.example.com/callback/'),
  'with the redirect_uri in capitals': redirect('HTTPS://APP.EXAMPLE.COM/callback'),
  'with the redirect_uri twice': (draft) => add(draft, 'redirect_uri', valueOf(draft, 'redirect_uri') ?? 'x'),
  'without a code and a redirect_uri': (draft) => {
    drop(draft, 'code');
    drop(draft, 'redirect_uri');
  },
};
