// The hostile tokens, and every genuine one in the place of another, at a running server: none is accepted, none is
// answered with 5xx, none makes anybody ask anybody. (Behind the cookies of a web application: test/bff.)

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createVerifier } from '../../src/verifier/index.ts';
import { type AdminServer, startAdministration } from '../support/admin.ts';
import { fitsHeader, type HostileToken, type HostileTokens, hostileTokens } from '../support/hostile-tokens.ts';
import { ordersApi, secret } from '../support/signet.ts';
import { decode, signIn } from '../support/user-agent.ts';
import { forgeOf } from './forge.ts';
import { firstKey } from './issuer.ts';
import { directoryWithKnownKey } from './known-key.ts';
import { type Answer, get } from './services.ts';
import { startTrap, type Trap } from './trap.ts';

let trap: Trap;
beforeAll(async () => {
  trap = await startTrap();
});
afterAll(() => trap.close());

/** Ports to which this process, and so each server in it, opened connections. */
const connected = new Set<number>();
const noteSocket = (message: unknown) => {
  const { socket } = message as { socket: Socket };
  socket.once('connect', () => connected.add(socket.remotePort!));
};
beforeAll(() => subscribe('net.client.socket', noteSocket));
afterAll(() => void unsubscribe('net.client.socket', noteSocket));

/** What came of each token, other than what `isRefusal` says. */
async function accepted(
  rows: readonly HostileToken[],
  ask: (jwt: string) => Promise<Answer>,
  isRefusal: (answer: Answer) => boolean,
): Promise<string[]> {
  const wrong: string[] = [];
  const left = rows.map(([name, , make]) => [name, make()] as const);
  const tryOn = async () => {
    for (let next = left.pop(); next; next = left.pop()) {
      const [name, jwt] = next;
      if (typeof jwt !== 'string') continue;
      const answer = await ask(jwt);
      if (!isRefusal(answer)) wrong.push(`${name}: ${answer.status} ${JSON.stringify(answer.body)}`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, tryOn));
  return wrong;
}

const isClientError = ({ status }: Answer) => status >= 400 && status < 500;

describe('a running server', () => {
  let directory: string;
  let server: AdminServer;
  let port: number;
  let real: Record<string, any>;

  beforeAll(async () => {
    directory = await directoryWithKnownKey();
    server = await startAdministration({ directory });
    port = server.config.listen.port;
    await server.store.accounts.setRoles(server.accountId, ['admin'], 'test');
    const parameters = { scope: 'openid offline_access orders:read', resource: ordersApi, prompt: 'consent' };
    ({ tokens: real } = await signIn(server.issuer, { clientId: 'web', parameters }));
  });
  afterAll(async () => {
    await server.close();
    await rm(directory, { recursive: true, force: true });
  });

  const bearer = (path: string) => (jwt: string) => get(server.issuer + path, { authorization: `Bearer ${jwt}` });
  const userinfo = bearer('/me');
  const administration = bearer('/admin/api/v1/keys');
  const introspect = (token: string) => post('/token/introspection', { token });
  const revoke = (token: string) => post('/token/revocation', { token });
  const refresh = (jwt: string) => post('/token', { grant_type: 'refresh_token', refresh_token: jwt });

  async function post(path: string, form: Record<string, string>, accept = 'application/json'): Promise<Answer> {
    const response = await fetch(server.issuer + path, {
      method: 'POST',
      body: new URLSearchParams(form),
      headers: { authorization: `Basic ${btoa(`web:${secret}`)}`, accept },
    });
    const text = await response.text();
    return { status: response.status, headers: {}, body: text.startsWith('{') ? JSON.parse(text) : text };
  }

  /** The table, made from a token that this server issued for `audience`. */
  function tableFrom(token: string, audience: string): HostileTokens {
    const { payload } = decode(token);
    expect(decode(token).header.kid).toBe(firstKey.kid);
    const forge = forgeOf({ issuer: server.issuer, claims: () => payload }, trap.url);
    expect([payload.aud].flat()).toContain(audience);
    return hostileTokens({ ...forge, audience });
  }

  const all = ({ offline, unknownKeys }: HostileTokens) => [...offline, ...unknownKeys];
  const sendable = (table: HostileTokens) => all(table).filter(([, , make]) => fitsHeader(make()));

  async function onlyUsWasAsked(work: () => Promise<void>): Promise<void> {
    expect(connected).toContain(port); // by the sign-in before: so that this list is known to be kept
    const before = new Set(connected);
    await work();
    expect([...connected].filter((one) => !before.has(one))).toEqual([]);
    expect(trap.asked).toBe(0);
  }

  test('userinfo refuses every hostile token', async () => {
    const { tokens } = await signIn(server.issuer, { parameters: { scope: 'openid' } });
    const table = tableFrom(tokens.access_token, server.issuer);
    for (const make of table.genuine) expect(await userinfo(make())).toMatchObject({ status: 200 });
    await onlyUsWasAsked(async () => {
      expect(await accepted(sendable(table), userinfo, isClientError)).toEqual([]);
    });
  });

  test('the admin API refuses every hostile token', async () => {
    const table = tableFrom(await server.personToken(), server.administration);
    for (const make of table.genuine) expect(await administration(make())).toMatchObject({ status: 200 });
    await onlyUsWasAsked(async () => {
      expect(await accepted(sendable(table), administration, isClientError)).toEqual([]);
    });
  });

  test('introspection calls no hostile token active', async () => {
    const table = tableFrom(real.access_token, ordersApi);
    const isActive = { status: 200, body: { active: true } };
    for (const make of table.genuine) expect(await introspect(make())).toMatchObject(isActive);
    // It answers for tokens of any audience: for which one is up to whoever asks.
    const rows = all(table).filter(([, code]) => code !== 'wrong_audience');
    const isRefusal = (answer: Answer) =>
      isClientError(answer) || (answer.status === 200 && JSON.stringify(answer.body) === '{"active":false}');
    await onlyUsWasAsked(async () => {
      expect(await accepted(rows, introspect, isRefusal)).toEqual([]);
    });
  });

  test('revocation does nothing to anybody for a hostile token', async () => {
    const table = tableFrom(real.access_token, ordersApi);
    const rows = all(table).filter(([, code]) => code !== 'wrong_audience');
    await onlyUsWasAsked(async () => {
      expect(await accepted(rows, revoke, (answer) => answer.status === 200 || isClientError(answer))).toEqual([]);
    });
    expect(await introspect(real.access_token)).toMatchObject({ body: { active: true } });
  });

  test('a refresh takes no hostile token', async () => {
    const table = tableFrom(real.access_token, ordersApi);
    await onlyUsWasAsked(async () => {
      expect(await accepted(all(table), refresh, isClientError)).toEqual([]);
    });
  });

  test('nothing that it signs is taken for something else', async () => {
    const { issuer } = server;
    const listUri = decode(real.access_token).payload.status.status_list.uri;
    const signedAnswer = 'application/token-introspection+jwt';
    const introspection = await post('/token/introspection', { token: real.access_token }, signedAnswer);
    const signed: Record<string, string> = {
      'ID token': real.id_token,
      'refresh token': real.refresh_token,
      'status list': await (await fetch(listUri)).text(),
      'introspection answer': String(introspection.body),
      'access token for the API': real.access_token,
    };
    for (const jwt of Object.values(signed)) expect(jwt).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
    const verifier = createVerifier({ issuer, audience: null });
    const takenBy: Record<string, (jwt: string) => Promise<boolean>> = {
      'a verifier of any audience': (jwt) =>
        verifier.verify(jwt).then(
          () => true,
          () => false,
        ),
      userinfo: async (jwt) => (await userinfo(jwt)).status === 200,
      'the admin API': async (jwt) => (await administration(jwt)).status === 200,
      'introspection, as active': async (jwt) => ((await introspect(jwt)).body as { active?: boolean }).active === true,
    };
    const taken: string[] = [];
    for (const [who, takes] of Object.entries(takenBy)) {
      for (const [what, jwt] of Object.entries(signed)) if (await takes(jwt)) taken.push(`${who}: ${what}`);
    }
    // A token that was asked for with "openid" names userinfo among its audiences.
    expect(taken).toEqual([
      'a verifier of any audience: access token for the API',
      'userinfo: access token for the API',
      'introspection, as active: refresh token',
      'introspection, as active: access token for the API',
    ]);
    verifier.close();
  });
});
