// What our tokens are: access tokens per RFC 9068, refresh tokens as signed handles, and how each is recognised when it
// comes back. Nothing may accept one kind as another: `typ` tells them apart, then the audience does.

import { compactVerify, importJWK, type CryptoKey, type JWK } from 'jose';
import type { SigningKeys } from '../keys/keyring.ts';
import { createVerifier, type Verifier } from '../verifier/index.ts';

export interface TokenFormats {
  /** A refresh token for the wire: `handle` inside a JWT of type rt+jwt, addressed to the issuer itself. */
  wrapRefreshToken(handle: string, issuedAt: number, expiresAt: number): Promise<string>;
  /** The handle, if the token is one of ours and not expired; a forged one costs no query. */
  openRefreshToken(token: string): Promise<string | undefined>;
  /** Claims of an access token addressed to the issuer (its userinfo endpoint), or undefined. */
  openAccessToken(token: string): Promise<Record<string, unknown> | undefined>;
  close(): void;
}

const refreshTokenType = 'rt+jwt';

export function createTokenFormats(
  issuer: string,
  keys: SigningKeys,
  refreshTokenFormat: 'jwt' | 'opaque',
): TokenFormats {
  const header = encode({ alg: keys.active.alg, typ: refreshTokenType, kid: keys.active.kid });
  const imported = new Map<string, Promise<CryptoKey>>();
  const userinfo: Verifier = createVerifier({ issuer, audience: issuer, jwks: { keys: [...keys.published] } });

  function keyOf(kid: unknown): Promise<CryptoKey> {
    const jwk = keys.published.find((key) => key.kid === kid);
    if (!jwk) throw new Error('unknown kid');
    const known = imported.get(jwk.kid);
    if (known) return known;
    const key = importJWK(jwk as JWK, 'RS256') as Promise<CryptoKey>;
    imported.set(jwk.kid, key);
    return key;
  }

  return {
    async wrapRefreshToken(handle, issuedAt, expiresAt) {
      if (refreshTokenFormat === 'opaque') return handle;
      const payload = encode({ iss: issuer, aud: issuer, jti: handle, iat: issuedAt, exp: expiresAt });
      const signature = await keys.active.sign(Buffer.from(`${header}.${payload}`));
      return `${header}.${payload}.${signature.toString('base64url')}`;
    },

    async openRefreshToken(token) {
      // A handle is never in two formats: base64url has no dot. Both stay readable when the setting changes.
      if (!token.includes('.')) return token;
      try {
        const { payload, protectedHeader } = await compactVerify(token, ({ kid }) => keyOf(kid), { algorithms: ['RS256'] });
        const claims = JSON.parse(new TextDecoder().decode(payload)) as Record<string, unknown>;
        const ours = protectedHeader.typ === refreshTokenType && claims.iss === issuer && claims.aud === issuer;
        return ours && typeof claims.jti === 'string' && Number(claims.exp) > Date.now() / 1000 ? claims.jti : undefined;
      } catch {
        return undefined; // Forged, foreign, or of a key long gone: to the client they are all "not found".
      }
    },

    async openAccessToken(token) {
      try {
        return { ...(await userinfo.verify(token)).claims };
      } catch {
        return undefined; // Why it was refused is the verifier's business; RFC 6750 has one answer: invalid_token.
      }
    },

    close: () => userinfo.close(),
  };
}

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
