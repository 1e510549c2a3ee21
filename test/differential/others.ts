// What is presented in the place of an application's own: tokens of others, and what looks like one.

import { signCompact } from '../../src/keys/compact-jws.ts';
import type { Pair, Side } from './pair.ts';
import { type Others, ownOf, plainRequest } from './requests.ts';
import { asks } from './world.ts';

const nobodys = {} as Others;

/** Anew, on each side: what there was may have expired. */
export async function othersOf(pair: Pair): Promise<Map<Side, Others>> {
  const each = await pair.onEach(async (side) => [side, await othersOn(side)] as const);
  const [one, other] = each.map(([, others]) => others) as [Others, Others];
  pair.twins.differences(one, other);
  return new Map(each);
}

async function othersOn(side: Side): Promise<Others> {
  const { issuer, store } = side.server;
  const own = ownOf({ others: nobodys }, 'web', { code: await side.authorize('bob', asks['web: its only API']!) });
  const tokens = (await side.send(plainRequest('authorization_code', own, '192.0.2.1'))).body as Record<string, string>;
  const service = await side.send(
    plainRequest('client_credentials', ownOf({ others: nobodys }, 'service'), '192.0.2.1'),
  );

  const { active } = await store.keyring.signingKeys();
  const now = Math.floor(Date.now() / 1000);
  const handle = 'A'.repeat(43);
  const claims = { iss: issuer, aud: issuer, jti: handle, iat: now, exp: now + 600 };
  const refreshToken = (changed: object, type = 'rt+jwt') => signCompact(active, type, { ...claims, ...changed });
  return {
    refreshToken: tokens.refresh_token!,
    accessToken: tokens.access_token!,
    idToken: tokens.id_token!,
    code: await side.authorize('bob', asks['web: its only API']!),
    serviceToken: (service.body as Record<string, string>).access_token!,
    logoutToken: await refreshToken({ aud: 'spa', sub: side.accounts.ada, events: {} }, 'logout+jwt'),
    unknownHandle: await refreshToken({}),
    foreign: {
      issuer: await refreshToken({ iss: 'https://other.example.com' }),
      audience: await refreshToken({ aud: 'spa' }),
      handle: await refreshToken({ jti: undefined }),
      expired: await refreshToken({ exp: now - 600 }),
      type: await refreshToken({}, 'at+jwt'),
    },
  };
}
