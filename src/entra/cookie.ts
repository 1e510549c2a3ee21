// The cookie that binds a sign-in at Microsoft to the browser in which it began. One for each, since tabs begin at the
// same moment. SameSite=Lax: it comes along when Microsoft sends the browser back by GET, and not with a form that
// Microsoft's page posts; that is what the parked answer is for.

import { hash } from 'node:crypto';
import type { Context } from 'koa';
import { cookiePrefix, cookiesIn, createCookieWriter } from '../web/cookies.ts';
import { stateLifeSeconds } from './state.ts';

export interface BrowserCookie {
  set(ctx: Context, state: string, value: string): void;
  get(ctx: Context, state: string): string;
  clear(ctx: Context, state: string): void;
}

const mostAtOnce = 10;

/** @param issuer public URL of this server */
export function createBrowserCookie(issuer: string): BrowserCookie {
  const prefix = `${cookiePrefix(issuer)}entra_`;
  const cookies = createCookieWriter(issuer);
  const nameFor = (state: string) => prefix + hash('sha256', `cookie ${state}`, 'base64url').slice(0, 16);

  return {
    set(ctx, state, value) {
      // More of them would outgrow the request header. Browsers send the oldest first (RFC 6265 §5.4).
      const names = [...cookiesIn(ctx.get('Cookie')).keys()].filter((name) => name.startsWith(prefix));
      for (const name of names.slice(0, Math.max(0, names.length - mostAtOnce + 1))) cookies.remove(ctx, name);
      cookies.set(ctx, nameFor(state), value, stateLifeSeconds);
    },
    get: (ctx, state) => cookiesIn(ctx.get('Cookie')).get(nameFor(state)) ?? '',
    clear: (ctx, state) => cookies.remove(ctx, nameFor(state)),
  };
}
