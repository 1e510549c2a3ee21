// Access tokens (RFC 9068) and refresh tokens, which are signed handles: how they are made, and how each is read when
// it comes back. Nothing may accept one kind as another: `typ` tells them apart, then the audience does.

import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { z } from 'zod';
import { signCompact } from '../keys/compact-jws.ts';
import { issuedAt } from '../keys/dating.ts';
import type { SigningKeys } from '../keys/keyring.ts';
import { createVerifier, type Verifier } from '../verifier/index.ts';
import { readUnverified } from './unverified-jwt.ts';

export interface TokenFormats {
  /**
   * A refresh token for the wire: `handle` inside a JWT of type rt+jwt, addressed to the issuer itself.
   * @param expiresAt epoch seconds @param at as of when it is issued, epoch milliseconds
   */
  wrapRefreshToken(handle: string, expiresAt: number, at: number): Promise<string>;
  /** The handle inside, unless the token is expired or not one of ours. Whether the handle is good, storage knows. */
  openRefreshToken(token: string): Promise<string | undefined>;
  /** Claims of an access token addressed to the issuer (its userinfo endpoint), or undefined. */
  openAccessToken(token: string): Promise<Record<string, unknown> | undefined>;
  /** The same of an access token for whatever audience: to answer for it, never to open something with it. */
  openAnyAccessToken(token: string): Promise<Record<string, unknown> | undefined>;
  /** Whom and what an ID token of ours names, however long ago it expired; undefined where it is none. */
  openIdToken(token: string): Promise<IdTokenSubject | undefined>;
  close(): void;
}

interface IdTokenSubject {
  sub: string;
  aud: string;
}

const refreshTokenType = 'rt+jwt';

export function createTokenFormats(
  issuer: string,
  keys: SigningKeys,
  refreshTokenFormat: 'jwt' | 'opaque',
  now: () => number = Date.now,
): TokenFormats {
  const publicKeys = new Map(
    keys.published.map((jwk) => [jwk.kid, createPublicKey({ key: { ...jwk }, format: 'jwk' })]),
  );
  const jwks = { keys: [...keys.published] };
  const ours = {
    header: z.object({ alg: z.literal('RS256'), typ: z.literal(refreshTokenType), kid: z.string() }),
    claims: z.object({ iss: z.literal(issuer), aud: z.literal(issuer), exp: z.number(), jti: z.string().min(1) }),
  };
  const idToken = {
    // Our access, refresh and logout tokens say what they are, and are no ID token.
    header: z.object({ alg: z.literal('RS256'), typ: z.literal('JWT').optional(), kid: z.string() }),
    claims: z.object({ iss: z.literal(issuer), aud: z.string(), sub: z.string() }),
  };
  const userinfo: Verifier = createVerifier({ issuer, audience: issuer, jwks, now });
  const anyAudience: Verifier = createVerifier({ issuer, audience: null, jwks, now });

  return {
    async wrapRefreshToken(handle, expiresAt, at) {
      if (refreshTokenFormat === 'opaque') return handle;
      const claims = { iss: issuer, aud: issuer, jti: handle, iat: issuedAt(at), exp: expiresAt };
      return signCompact(keys.active, refreshTokenType, claims);
    },

    async openRefreshToken(token) {
      // A handle has no dot, so the two formats cannot be confused, and both stay good when the setting changes.
      if (!token.includes('.')) return token;
      // Forged or foreign: to the client it is "not found" either way.
      const read = readUnverified(token, ours);
      if (!read || read.claims.exp <= now() / 1000) return undefined;
      // The handle is proof enough; the signature only saves a query on what is forged. So a key that this replica
      // does not know, because it is newer than our last look or was revoked, ends nobody's session.
      const key = publicKeys.get(read.header.kid);
      return !key || isSigned(token, key) ? read.claims.jti : undefined;
    },

    async openIdToken(token) {
      const read = readUnverified(token, idToken);
      const key = read && publicKeys.get(read.header.kid);
      return key && isSigned(token, key) ? read.claims : undefined;
    },

    openAccessToken: (token) => claimsFor(userinfo, token),
    openAnyAccessToken: (token) => claimsFor(anyAudience, token),

    close() {
      userinfo.close();
      anyAudience.close();
    },
  };
}

async function claimsFor(verifier: Verifier, token: string): Promise<Record<string, unknown> | undefined> {
  try {
    return { ...(await verifier.verify(token)).claims };
  } catch {
    return undefined; // Why it was refused is the verifier's business: it is not a token that we would stand by.
  }
}

// RS256, whatever the token says of itself (RFC 7518 §3.3). Synchronous: it takes less than a hop to the thread pool.
function isSigned(jwt: string, key: KeyObject): boolean {
  const at = jwt.lastIndexOf('.');
  return verify('sha256', Buffer.from(jwt.slice(0, at)), key, Buffer.from(jwt.slice(at + 1), 'base64url'));
}
