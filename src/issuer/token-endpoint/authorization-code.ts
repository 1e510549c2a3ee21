// The authorization code grant (RFC 6749 §4.1.3) with PKCE (RFC 7636 §4.6): a code is exchanged, once, for the tokens of a
// sign-in.

import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { audienceOf } from '../../clients/apis.ts';
import type { RefreshTokenPayload } from '../../grants/refresh-rows.ts';
import type { Models } from '../adapter.ts';
import type { RefreshRotation } from '../refresh.ts';
import type { UngrantedScope } from '../scope.ts';
import { intactBacking } from './backed.ts';
import type { Issuing, PersonalSource } from './issuing.ts';
import type { PlainRequest } from './plain-request.ts';
import type { Granted } from './token-endpoint.ts';

/** oidc-provider's (lib/models/authorization_code.js), and ours. */
interface Code extends PersonalSource, UngrantedScope {
  grantId: string;
  accountId: string;
  clientId: string;
  sessionUid?: string;
  expiresWithSession?: boolean;
  codeChallenge?: string;
  codeChallengeMethod?: string;
  redirectUri?: string;
  consumed?: number;
  exp?: number;
}

interface AuthorizationCodeParts {
  issuing: Issuing;
  models: Pick<Models, 'findBackedCode' | 'consumeCode' | 'saveRefreshToken'>;
  rotation: Pick<RefreshRotation, 'handles'>;
  /** Seconds. */
  refreshTokenLife: number;
  now(): number;
}

export async function grantCode(
  { application, parameters }: PlainRequest,
  { issuing, models, rotation, refreshTokenLife, now }: AuthorizationCodeParts,
): Promise<Granted | undefined> {
  const { code: presented, code_verifier: verifier, redirect_uri: redirectUri, resource } = parameters;
  if (application.type === 'service' || presented === undefined || redirectUri === undefined) return undefined;
  const found = await models.findBackedCode(presented);
  if (!found) return undefined;
  const code = found.payload as Code;
  const backing = intactBacking(code, found, application, now());
  if (!backing || code.consumed !== undefined) return undefined;
  if (code.redirectUri !== redirectUri || !isProved(verifier, code)) return undefined;
  const { grant, account } = backing;
  const access = issuing.personalAccess(application, code, grant, { resource });
  // Of two with one code the second goes on, and is told that it was used: that ends the grant (RFC 6749 §4.1.2).
  if (!access || !(await models.consumeCode(presented))) return undefined;

  const at = now();
  const exp = Math.floor(at / 1000) + refreshTokenLife;
  const refreshToken = application.refreshTokens ? { handle: rotation.handles.first(exp), exp } : undefined;
  const written = refreshToken && models.saveRefreshToken(refreshToken.handle, refreshable(code, at, exp), exp * 1000);
  const [answer] = await Promise.all([
    issuing.toPerson(
      { application, account, grant, grantId: code.grantId, source: code, access },
      { at, id: randomBytes(24).toString('base64url'), nonce: code.nonce, refreshToken },
    ),
    written,
  ]);
  return {
    answer,
    event: 'token.issued',
    subject: account.id,
    scope: access.scope,
    audience: resource && audienceOf(resource),
  };
}

const verifierPattern = /^[\w.~-]{43,128}$/;

function isProved(verifier: string | undefined, { codeChallenge: challenge, codeChallengeMethod: method }: Code) {
  if (verifier === undefined && challenge === undefined) return true;
  if (verifier === undefined || challenge === undefined || method !== 'S256') return false;
  const [expected, given] = [challenge, hash('sha256', verifier, 'base64url')].map((text) => Buffer.from(text));
  return verifierPattern.test(verifier) && expected!.length === given!.length && timingSafeEqual(expected!, given!);
}

/** What is kept of the refresh token, which goes on with what the code gives (lib/helpers/grant_common.js). */
function refreshable(code: Code, at: number, exp: number): RefreshTokenPayload {
  const { codeChallenge: _, codeChallengeMethod: _method, redirectUri: _uri, consumed: _consumed, ...kept } = code;
  const iat = Math.floor(at / 1000);
  return { ...kept, iat, exp, iiat: iat, gty: 'authorization_code', rotations: 0 };
}
