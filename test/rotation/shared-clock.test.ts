// A server whose clock is wrong, by seconds or by more than a year, beside a right one on the same PostgreSQL: what is
// compared across replicas goes by the database's clock, so nobody is signed out, nothing spent is taken, and no row of
// anybody is deleted. No time is scaled, and none is waited for.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import bcrypt from 'bcrypt';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { openStore, type Store } from '../../src/store.ts';
import { engines, postgres } from '../support/engines.ts';
import { freePort } from '../support/ports.ts';
import { callback, person } from '../support/signet.ts';
import {
  asClient,
  askUserinfo,
  authorizationRequest,
  authorize,
  decode,
  redemption,
  type TokenAnswer,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';
import { type ServerProcess, startServerProcess } from './fleet.ts';
import { type ServerSettings, serverConfig } from './scaled.ts';

const minute = 60;
const hour = 3600;
const day = 24 * hour;

describe.skipIf(!engines.includes(postgres))('a server with a wrong clock, and a right one', () => {
  let settings: Omit<ServerSettings, 'port'>;
  let right: ServerProcess;
  let store: Store;

  beforeAll(async () => {
    const directory = await mkdtemp(join(tmpdir(), 'signet-shared-clock-'));
    const port = await freePort();
    settings = {
      issuer: `http://localhost:${port}`,
      directory,
      database: await postgres.freshUrl(),
      scaled: false,
      sweepEveryMs: 50,
    };
    right = await startServerProcess({ ...settings, port });
    store = await openStore(serverConfig({ ...settings, port }), silentLog);
    const passwordHash = await bcrypt.hash(person.password, 4);
    await store.accounts.create({ email: person.email, roles: [], passwordHash }, 'test');
  }, 60_000);
  afterAll(async () => {
    await store?.close();
    await right?.stop();
    await rm(settings.directory, { recursive: true, force: true });
  });

  const urlOf = ({ port }: ServerProcess) => `http://localhost:${port}`;
  const refresh = (server: ServerProcess, refreshToken: string): Promise<TokenAnswer> =>
    tokenRequest(urlOf(server), { grant_type: 'refresh_token', refresh_token: refreshToken }, asClient('spa'));

  async function signIn(one: ServerProcess, other: ServerProcess): Promise<Record<string, any>> {
    const agent = new UserAgent(settings.issuer, urlOf(one));
    const request = authorizationRequest(settings.issuer, { redirect_uri: callback });
    const code = (await authorize(agent, request.url)).get('code')!;
    const { status, body } = await tokenRequest(urlOf(other), redemption(request, code), asClient('spa'));
    expect([status, body.error_description]).toEqual([200, undefined]);
    return body;
  }

  async function start(shiftSeconds: number): Promise<ServerProcess> {
    return startServerProcess({ ...settings, port: await freePort() }, { clockShiftMs: shiftSeconds * 1000 });
  }

  /** So long ago everything was rotated, as the database has it: without waiting for it, and however long a request takes. */
  const age = (seconds: number) =>
    store.db.query('update refresh_tokens set rotated_at = cast($1 as bigint) where rotated_at is not null', [
      Date.now() - seconds * 1000,
    ]);

  async function everyRow(): Promise<string[]> {
    const { rows } = await store.db.query<{ id: string }>(
      `select model || id as id from oidc_models union all select id from audit_events order by id`,
    );
    return rows.map(({ id }) => id);
  }

  test.each([
    ['40 s ahead', 40],
    ['40 s behind', -40],
    ['an hour ahead', hour],
    ['an hour behind', -hour],
    ['400 days ahead', 400 * day],
  ])(
    'one of them %s: nothing is lost and nothing is taken twice',
    async (_name, shift) => {
      const off = await start(shift);
      try {
        for (const [one, other] of [
          [right, off],
          [off, right],
        ] as const) {
          // A sign-in at one and its code at the other; what is issued is dated by the time that services have.
          const first = await signIn(one, other);
          for (const token of [first.access_token, first.id_token]) {
            const { iat, exp } = decode(token).payload;
            expect(Math.abs(iat - Date.now() / 1000)).toBeLessThan(20);
            expect(Math.abs(exp - iat - 30 * minute)).toBeLessThan(20);
          }
          const noResource = await signIn(one, one);
          expect((await askUserinfo(urlOf(other), noResource.access_token)).status).toBe(200);

          // An answer that was lost: the other server, asked the same, gives the same, and the grant lives.
          const second = await refresh(one, first.refresh_token);
          const repeated = await refresh(other, first.refresh_token);
          expect([second.status, repeated.status]).toEqual([200, 200]);
          expect(repeated.body.refresh_token).toBe(second.body.refresh_token);
          await age(20);
          expect((await refresh(other, first.refresh_token)).status).toBe(200);
          await age(20);
          expect((await refresh(one, first.refresh_token)).status).toBe(200);

          // After the grace the same is a theft, at both.
          await age(31);
          expect((await refresh(other, first.refresh_token)).body.error).toBe('invalid_grant');
          expect((await refresh(one, second.body.refresh_token)).body.error).toBe('invalid_grant');
        }
      } finally {
        await off.stop();
      }
    },
    60_000,
  );

  test('one that is 400 days ahead deletes nothing', async () => {
    const kept = await signIn(right, right);
    await right.stop(); // what expires meanwhile is not what is asked here
    const before = await everyRow();
    const off = await start(400 * day);
    try {
      await vi.waitFor(() => expect(off.log).toContainEqual(expect.objectContaining({ event: 'sweep.stopped' })), {
        timeout: 20_000,
        interval: 20,
      });
      expect(await everyRow()).toEqual(expect.arrayContaining(before));
      expect(off.log).toContainEqual(expect.objectContaining({ event: 'clock.off', level: 'warn' }));
      expect(await off.health()).toMatchObject({ status: 503, body: { status: 'degraded' } });
      expect((await refresh(off, kept.refresh_token)).status).toBe(200);
    } finally {
      await off.stop();
      right = await startServerProcess({ ...settings, port: right.port });
    }
  }, 60_000);

  test('one that is 40 s ahead deletes what has expired, and not what has not yet', async () => {
    await right.stop();
    const insert = (id: string, expiresIn: number) =>
      store.db.query(`insert into oidc_models (model, id, payload, expires_at) values ('Interaction', $1, '{}', $2)`, [
        id,
        Date.now() + expiresIn * 1000,
      ]);
    await insert('over', -1);
    await insert('soon over', 35);
    const off = await start(40);
    try {
      await vi.waitFor(async () => expect(await everyRow()).not.toContain('Interactionover'), {
        timeout: 20_000,
        interval: 20,
      });
      expect(await everyRow()).toContain('Interactionsoon over');
      // It serves, since nothing goes by its own clock; and whoever watches is told.
      expect(await off.health()).toMatchObject({ status: 200, body: { status: 'degraded' } });
    } finally {
      await off.stop();
      right = await startServerProcess({ ...settings, port: right.port });
    }
  }, 60_000);
});
