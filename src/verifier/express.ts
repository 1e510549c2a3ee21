// Express 4 and 5: `app.use(requireToken(verifier))`; the token is at `req.token`.

import type { AccessToken } from './claims.ts';
import {
  authenticator,
  type IncomingRequest,
  refusalFor,
  roleCheck,
  scopeCheck,
  type TokenOptions,
} from './request.ts';
import type { Verifier } from './verifier.ts';

declare global {
  namespace Express {
    interface Request {
      /** The verified access token. Only behind `requireToken`: elsewhere it is undefined, whatever the type says. */
      token: AccessToken;
    }
  }
}

/** The parts of an Express request and response that are used. */
export type TokenRequest = IncomingRequest & { token?: AccessToken };
export interface TokenResponse {
  status(code: number): this;
  set(headers: Record<string, string>): this;
  json(body: unknown): unknown;
}

export type TokenHandler = (req: TokenRequest, res: TokenResponse, next: (error?: unknown) => void) => void;

/** Answers 401 (400, 503) unless the request has a valid access token, which it puts at `req.token`. */
export function requireToken(verifier: Verifier, options?: TokenOptions): TokenHandler {
  const authenticate = authenticator(verifier, options);
  return enforce(async (req) => {
    req.token = await authenticate(req);
  });
}

/** Answers 403 unless the token has every one of `scopes`. After `requireToken`. */
export function requireScope(...scopes: string[]): TokenHandler {
  const check = scopeCheck(scopes);
  return enforce(async (req) => check(req.token));
}

/** Answers 403 unless the person has every one of `roles`. After `requireToken`. */
export function requireRole(...roles: string[]): TokenHandler {
  const check = roleCheck(roles);
  return enforce(async (req) => check(req.token));
}

function enforce(check: (req: TokenRequest) => Promise<void>): TokenHandler {
  return (req, res, next) => {
    check(req)
      .then(
        () => next(),
        (error: unknown) => {
          const { status, headers, body } = refusalFor(error);
          res.status(status).set(headers).json(body);
        },
      )
      .catch(next);
  };
}
