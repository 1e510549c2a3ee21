// How a session here and one at Microsoft end together. From here: a browser that signed out is sent on to Microsoft
// and comes back by way of `signedOutPath`. From there: Microsoft loads `frontChannelPath` in a hidden frame of its
// sign-out page. Ours ends first either way, whether or not Microsoft can be reached.

import Router from '@koa/router';
import type { Context } from 'koa';
import type { KoaContextWithOIDC } from 'oidc-provider';
import type { Audit } from '../audit/audit.ts';
import type { EntraConfig } from '../config/config.ts';
import type { SignedOut } from '../issuer/upstream-session.ts';
import type { Seal } from '../keys/seal.ts';
import type { Log } from '../log.ts';
import { addressPrefix } from '../web/address.ts';
import { cookiePrefix, cookiesIn, createCookieWriter } from '../web/cookies.ts';
import { endpoints } from '../web/endpoints.ts';
import { sendRedirect } from '../web/redirect.ts';
import { requestOf } from '../web/request.ts';
import type { EntraConnector } from './connector.ts';
import type { UpstreamSessions } from './upstream-sessions.ts';

const frontChannelPath = endpoints.entra_frontchannel_logout.path;
/** Registered with Microsoft as a redirect URI, or it does not send people back. */
const signedOutPath = endpoints.entra_signed_out.path;

interface EntraSignOutParts {
  config: EntraConfig;
  /** Public URL of this server. */
  issuer: string;
  connector: EntraConnector;
  sessions: UpstreamSessions;
  seal: Seal;
  audit: Audit;
  log: Log;
  /** Ends sessions that rest on these, and the grants that end with a session. Whether anything is left. */
  endSessions(accountId: string, upstream: readonly string[]): Promise<boolean>;
  now?: () => number;
}

interface EntraSignOut {
  routes(): Router;
  /** See UpstreamProvider in issuer/upstream-session.ts. */
  afterSignOut(ctx: KoaContextWithOIDC, signedOut: SignedOut): Promise<string | undefined>;
}

const awaySeconds = 600;
const sealedFor = 'after sign-out';
// Microsoft's page loads ours in the person's browser, so this is one address: an office of many people at most.
const callsPerMinute = 120;

export function createEntraSignOut(parts: EntraSignOutParts): EntraSignOut {
  const { config, issuer, connector, sessions, seal, audit, log, endSessions, now = Date.now } = parts;
  const cookies = createCookieWriter(issuer);
  const cookieName = `${cookiePrefix(issuer)}after_sign_out`;
  const microsoft = new URL(connector.logoutUrl({ postLogoutRedirectUri: issuer })).origin;
  const isTooMuch = createLimit(callsPerMinute, now);

  /** Where the browser was going before it went to Microsoft. Sealed, or anybody could make us send people anywhere. */
  function destination(ctx: Context): string {
    const sealed = cookiesIn(ctx.get('Cookie')).get(cookieName);
    if (!sealed) return `${issuer}/session/end/success`;
    try {
      return seal.open(sealed, sealedFor).toString();
    } catch {
      return `${issuer}/session/end/success`; // not ours, or sealed under a key that is gone: the page fits everybody
    }
  }

  /** Microsoft's refresh token is kept for as long as something rests on it. */
  async function forget(id: string, accountId: string): Promise<void> {
    if (!(await endSessions(accountId, [id]))) await sessions.end(id);
  }

  async function endFromThere(ctx: Context): Promise<void> {
    const { sid } = ctx.query;
    if (typeof sid !== 'string' || !/^[\w.-]{1,128}$/.test(sid)) return;
    const { requestId, address } = requestOf(ctx);
    for (const { id, accountId } of await sessions.signedOut('entra', sid)) {
      await forget(id, accountId);
      audit.record({ event: 'session.ended', actor: 'entra', subject: accountId, requestId, address });
    }
  }

  return {
    routes() {
      const router = new Router();

      router.get(frontChannelPath, async (ctx) => {
        if (isTooMuch(addressPrefix(requestOf(ctx).address))) {
          ctx.status = 429;
          ctx.set('Retry-After', '60');
          return;
        }
        // Only there it may be in a frame. The same answer whatever was ended: who knows a sid must not learn of it.
        ctx.remove('X-Frame-Options');
        ctx.set({
          'Content-Security-Policy': `default-src 'none'; frame-ancestors ${microsoft}`,
          'Cache-Control': 'no-store',
        });
        try {
          await endFromThere(ctx);
        } catch (error) {
          log.error('entra.front_channel_failed', { requestId: requestOf(ctx).requestId, error });
        }
        ctx.type = 'text/html; charset=utf-8';
        ctx.body = '';
        ctx.status = 200;
      });

      router.get(signedOutPath, (ctx) => {
        const target = destination(ctx);
        cookies.remove(ctx, cookieName);
        sendRedirect(ctx, target);
      });
      return router;
    },

    async afterSignOut(ctx, { upstream, everywhere, goingTo }) {
      const session = await sessions.find(upstream);
      if (session) await forget(upstream, session.accountId);
      const { propagate } = config.logout;
      if (!session || propagate === 'never' || (propagate === 'ask' && !everywhere)) return undefined;
      cookies.set(ctx, cookieName, seal.seal(goingTo, sealedFor), awaySeconds);
      return connector.logoutUrl({ postLogoutRedirectUri: `${issuer}${signedOutPath}`, loginHint: session.loginHint });
    },
  };
}

/** Addresses told apart in a minute. Who comes beyond that shares one count: strangers may have any number of them. */
const mostCounted = 10_000;

/** Whether somebody asks more often than `perMinute`. */
function createLimit(perMinute: number, now: () => number): (who: string) => boolean {
  let minute = 0;
  const counts = new Map<string, number>();
  return (who) => {
    const current = Math.floor(now() / 60_000);
    if (current !== minute) counts.clear();
    minute = current;
    const counted = counts.has(who) || counts.size < mostCounted ? who : 'others';
    const count = (counts.get(counted) ?? 0) + 1;
    counts.set(counted, count);
    return count > perMinute;
  };
}
