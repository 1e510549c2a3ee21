// The device cookie names a browser in which somebody signed in before. Whoever guesses at their account, be it from
// the same address, has another one and does not hold them up (login-throttle.ts). The cookie is worth no more than
// that: it signs nobody in, and whoever steals it guesses against a counter like anybody.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Context } from 'koa';
import type { Seal } from '../keys/seal.ts';
import { cookiePrefix, cookiesIn, createCookieWriter } from '../web/cookies.ts';

export interface Devices {
  /** The name of this browser, where the last who signed in in it was `accountId`. */
  of(ctx: Context, accountId: string | undefined): string | undefined;
  remember(ctx: Context, accountId: string): void;
}

export const deviceLifeSeconds = 90 * 86_400;

export function createDevices(
  seal: Pick<Seal, 'derive'>,
  { issuer }: { issuer: string },
  now: () => number = Date.now,
): Devices {
  const name = `${cookiePrefix(issuer)}device`;
  const cookies = createCookieWriter(issuer);
  const keys = seal.derive('devices');
  const proof = (key: Buffer, device: string, until: string, accountId: string) =>
    createHmac('sha256', key)
      .update(JSON.stringify([device, until, accountId]))
      .digest();
  const seconds = () => Math.floor(now() / 1000);

  return {
    of(ctx, accountId) {
      const [device = '', until = '', given = ''] = cookiesIn(ctx.get('Cookie')).get(name)?.split('.') ?? [];
      if (accountId === undefined || !(Number(until) > seconds())) return undefined;
      const bytes = Buffer.from(given, 'base64url');
      const isProved = keys
        .map((key) => proof(key, device, until, accountId))
        .some((expected) => expected.length === bytes.length && timingSafeEqual(expected, bytes));
      return isProved ? device : undefined;
    },

    remember(ctx, accountId) {
      const device = randomBytes(16).toString('base64url');
      const until = String(seconds() + deviceLifeSeconds);
      const value = [device, until, proof(keys[0], device, until, accountId).toString('base64url')].join('.');
      cookies.set(ctx, name, value, deviceLifeSeconds);
    },
  };
}
