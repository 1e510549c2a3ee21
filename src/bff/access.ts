// From a request's cookies to a verified access token, renewed where it is due. The verifier decides whether a token is
// good: what it learns of revocation, this learns.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { type AccessToken, VerificationError } from '@signet-idp/verifier';
import { uniqueCookies } from '@signet-idp/verifier/internal';
import { BffError, isBffError } from './errors.ts';
import type { IssuerClient, Tokens } from './issuer.ts';
import type { BffSettings } from './options.ts';
import { createRenewals } from './renewals.ts';
import type { CookieSession, RequestCookies, SessionCookies } from './session.ts';
import { addCookies } from './set-cookie.ts';

/** A session whose access token is good. */
interface Live {
  session: CookieSession;
  token: AccessToken;
}

export interface SessionAccess {
  /**
   * The live session of a request; new cookies go along with `res`.
   * @throws {BffError} `signed_out`, `issuer_unavailable`
   */
  open(req: IncomingMessage, res: ServerResponse): Promise<Live>;
  /** A session of fresh tokens. @throws {BffError} `sign_in_failed` where they are not good here */
  begin(id: string, tokens: Tokens): Promise<Live>;
  /** Ends the session of a request, here and its refresh token at the issuer; its person's id, where there was one. */
  end(req: IncomingMessage, res: ServerResponse): Promise<unknown>;
}

export const cookiesOf = (req: IncomingMessage): RequestCookies => uniqueCookies(req.headers.cookie);

export function createSessionAccess(
  { verifier, refreshAheadMs, onError, now }: BffSettings,
  cookies: SessionCookies,
  issuer: IssuerClient,
): SessionAccess {
  const renewals = createRenewals<Live>(now);
  const opened = new WeakMap<IncomingMessage, Promise<Live>>();

  async function open(req: IncomingMessage, res: ServerResponse): Promise<Live> {
    const sent = cookiesOf(req);
    const session = cookies.read(sent);
    if (res.headersSent) {
      throw new BffError('response_begun', 'the session must be opened before the response begins');
    }
    try {
      if (!session) throw new BffError('signed_out', 'you are not signed in');
      const live = await current(session);
      // The client of a renewal that nobody waits for any more still has the old cookies: the issuer's grace covers it.
      if (live.session !== session) addCookies(res, cookies.write(live.session, sent));
      return live;
    } catch (error) {
      if (isBffError(error, 'signed_out')) addCookies(res, cookies.forget(sent));
      throw error;
    }
  }

  async function current(session: CookieSession): Promise<Live> {
    const left = session.expiresAt - now();
    const usable = left > 0 ? await verified(session) : undefined;
    if (usable && left > refreshAheadMs) return usable;
    const { id, refreshToken } = session;
    if (refreshToken === undefined) {
      if (usable) return usable;
      throw new BffError('signed_out', 'your session has ended');
    }
    try {
      const latest = (await renewals.renew({ id, refreshToken }, () => renewed(session, refreshToken))).session;
      // It may be one that was kept, for cookies from before the renewal, and be refused by now.
      const live = await verified(latest);
      if (live) return live;
      if (latest.refreshToken === refreshToken) throw new BffError('signed_out', 'your session has ended');
      return await current(latest);
    } catch (error) {
      if (!isBffError(error, 'issuer_unavailable')) throw error;
      onError(error);
      if (usable) return usable;
      throw error;
    }
  }

  async function renewed(session: CookieSession, refreshToken: string): Promise<Live> {
    const tokens = await issuer.refresh(refreshToken);
    // OIDC Core §12.2: a refresh cannot make somebody else of the person.
    const samePerson = tokens.idClaims === undefined || tokens.idClaims.sub === session.user.sub;
    const live = samePerson ? await liveWith(session.id, { refreshToken, ...tokens }, session.user) : undefined;
    if (live) return live;
    const detail = 'the renewed tokens are not good here';
    const error = new BffError('signed_out', 'your session has ended', { detail });
    onError(error);
    throw error;
  }

  /** Undefined where the verifier refuses the access token. */
  async function liveWith(id: string, tokens: Tokens, user?: CookieSession['user']): Promise<Live | undefined> {
    const { accessToken, refreshToken, idClaims } = tokens;
    const token = await verify(accessToken);
    if (!token) return undefined;
    const claims = idClaims ? forPage(idClaims) : (user ?? {});
    const session = { id, accessToken, refreshToken, expiresAt: token.expiresAt.getTime(), user: claims };
    return { session, token };
  }

  async function verified(session: CookieSession): Promise<Live | undefined> {
    const token = await verify(session.accessToken);
    return token && { session, token };
  }

  // Refused before its time (its key was withdrawn, it was revoked): the refresh token decides what becomes of it.
  async function verify(accessToken: string): Promise<AccessToken | undefined> {
    try {
      return await verifier.verify(accessToken);
    } catch (error) {
      if (!(error instanceof VerificationError)) throw error;
      if (error.status < 500) return undefined;
      const { code: detail, retryAfterSeconds } = error;
      throw new BffError('issuer_unavailable', 'the sign-in service cannot be reached at the moment', {
        detail,
        retryAfterSeconds,
      });
    }
  }

  return {
    open(req, res) {
      // Whoever opens a request's session again gets the same: the second would see the old cookies.
      const known = opened.get(req);
      if (known) return known;
      const opening = open(req, res);
      opened.set(req, opening);
      return opening;
    },

    async begin(id, tokens) {
      const live = await liveWith(id, tokens);
      if (live) return live;
      throw new BffError('sign_in_failed', 'the sign-in could not be completed', {
        detail: 'the access token is not good here: compare resource with the API at the issuer',
      });
    },

    async end(req, res) {
      const sent = cookiesOf(req);
      const session = cookies.read(sent);
      addCookies(res, cookies.end(sent));
      if (session?.refreshToken === undefined) return session?.user.sub;
      const { id, refreshToken } = session;
      // A renewal under way is waited for: its new token is the one to revoke.
      const newest = await renewals.end({ id, refreshToken });
      // The issuer ends the whole grant, so this holds for a successor that another process got, too.
      await issuer.revoke(newest?.session.refreshToken ?? refreshToken).catch(onError);
      return session.user.sub;
    },
  };
}

// What speaks of the token and not of the person. (OIDC Core §2, RFC 7519 §4.1)
const ofTheToken = new Set([
  'iss',
  'aud',
  'azp',
  'exp',
  'iat',
  'nbf',
  'jti',
  'nonce',
  'at_hash',
  'c_hash',
  's_hash',
  'sid',
]);

function forPage(idClaims: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(idClaims).filter(([name]) => !ofTheToken.has(name)));
}
