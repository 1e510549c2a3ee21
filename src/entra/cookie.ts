// The cookie that binds a sign-in at Microsoft to the browser in which it began. One for each, since tabs begin at the
// same moment. SameSite=Lax: it comes along when Microsoft sends the browser back by GET, and not with a form that
// Microsoft's page posts; that is what the parked answer is for.

import { hash } from 'node:crypto';
import type { Context } from 'koa';
import { cookiePrefix, readCookies } from '../web/cookies.ts';
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
  const secure = issuer.startsWith('https:');
  const nameFor = (state: string) => prefix + hash('sha256', `cookie ${state}`, 'base64url').slice(0, 16);
  const attributes = `Path=/; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
  const expire = (ctx: Context, name: string) =>
    ctx.append('Set-Cookie', `${name}=; ${attributes}; Expires=Thu, 01 Jan 1970 00:00:00 GMT`);

  return {
    set(ctx, state, value) {
      // More of them would outgrow the request header. Browsers send the oldest first (RFC 6265 §5.4).
      const names = [...readCookies(ctx).keys()].filter((name) => name.startsWith(prefix));
      for (const name of names.slice(0, Math.max(0, names.length - mostAtOnce + 1))) expire(ctx, name);
      ctx.append('Set-Cookie', `${nameFor(state)}=${value}; ${attributes}; Max-Age=${stateLifeSeconds}`);
    },
    get: (ctx, state) => readCookies(ctx).get(nameFor(state)) ?? '',
    clear: (ctx, state) => expire(ctx, nameFor(state)),
  };
}
