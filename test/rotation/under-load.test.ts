// The promise of automatic rotation, kept while everything happens at once: people sign in, services work, verifiers of
// five kinds check every token, and machines do what machines do. Time is scaled (scaled.ts): one run is a minute. The
// first test leaves its world to the second, which is the emergency in it.

import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKeyring } from '../../src/keys/keyring.ts';
import { engines, postgres } from '../support/engines.ts';
import { nextKey } from '../support/rotation.ts';
import { leaksIn } from '../support/secrets.ts';
import type { Rig } from './rig.ts';
import { handOvers, report, startRig } from './rig.ts';
import { pace, propagationMs, scaledKeys, tolerableClockMs, wrongClockMs } from './scaled.ts';
import { joseUserAgent } from './verifiers.ts';

let rig: Rig;

const byHand = { actor: 'test' };
const ms = (seconds: number) => seconds * 1000;
const until = (moment: number) => pause(Math.max(0, moment - Date.now()));

/** When the active key began to sign, by the database's clock, which is this machine's. */
async function activatedAt(): Promise<number> {
  return (await rig.activations()).at(-1)!.activatedAt;
}

/** By then every verifier that obeys the max-age has the next key: no sooner may it sign, emergencies apart. */
async function nextKeyIsKnown(): Promise<string> {
  const { kid, preparedAt } = await nextKey(rig.store.keyring);
  await until(preparedAt + ms(scaledKeys.publishAhead) + 20);
  return kid;
}

/** Resolves when one more key has begun to sign. */
async function rotated(work?: () => Promise<unknown>): Promise<void> {
  const before = (await rig.activations()).length;
  await work?.();
  await rig.keysWhere((keys) => keys.filter((key) => key.activatedAt !== null).length > before);
}

/** The emergency, as the command line does it. Tokens of that key are not good from the moment before. */
async function revokeActiveKey(): Promise<{ kid: string; revokedAt: number }> {
  const { kid } = (await rig.activations()).at(-1)!;
  rig.judge.revoked(kid);
  await rig.store.keyring.revoke(kid, 'a backup was stolen', byHand);
  const { revokedAt } = (await rig.store.keyring.list()).find((key) => key.kid === kid)!;
  return { kid, revokedAt: revokedAt! };
}

/** Nothing that a client or a verifier could complain about. */
async function expectNoHarm(): Promise<void> {
  const { judge, load, balancer, everyServer } = rig;
  expect(balancer.serverErrors).toEqual([]);
  expect(judge.refused).toEqual([]);
  expect(load.failures).toEqual([]);
  expect(load.interrupted).toBeLessThanOrEqual(balancer.cut);
  expect(everyServer.flatMap(({ log }) => log.filter(({ level }) => level === 'error'))).toEqual([]);
  for (const change of await handOvers(rig)) {
    expect(change).toMatchObject({ early: 0 });
    expect(change.previousSignedForMs).toBeLessThanOrEqual(propagationMs + judge.slowestMs);
    expect(change.bothSignedForMs).toBeLessThanOrEqual(propagationMs + judge.slowestMs);
  }
  expect(await rig.store.audit.verify()).toMatchObject({ ok: true });
  const { rows: trail } = await rig.store.db.query('select * from audit_events');
  expect(leaksIn(JSON.stringify([everyServer.map(({ log }) => log), trail]))).toEqual([]);
}

describe.skipIf(!engines.includes(postgres))('two servers on one PostgreSQL, under load', () => {
  beforeAll(async () => {
    rig = await startRig();
  }, 60_000 * pace);
  afterAll(() => rig?.close());

  test(
    'rotate five times, through a crash, a wrong clock and a failing JWKS; no good token is refused',
    async () => {
      const { judge, balancer, pausable, load, store } = rig;

      // An ordinary rotation, about which the JWKS fails: for 7.5 min of our scale. The cache of jose holds 10 and then
      // refuses everything, whatever the issuer does, so the failure begins when it is new.
      const beforeTheNext = ms(scaledKeys.rotateEvery - 1.5 * pace);
      if (Date.now() > (await activatedAt()) + beforeTheNext) await rotated(); // this machine is slow today
      await until((await activatedAt()) + beforeTheNext);
      await rotated(async () => {
        await balancer.jwksGivenTo(joseUserAgent);
        balancer.failJwks(1500 * pace);
        await pause(1600 * pace);
      });
      judge.watchPausable(pausable);

      // An ordinary rotation in which the server that makes it dies: the new key is active in the database, nobody has
      // signed with it yet, and none is next. The server comes back with a clock that is off by three times the allowed.
      await until((await activatedAt()) + ms(scaledKeys.rotateEvery - scaledKeys.publishAhead / 2));
      for (const server of rig.servers) server.dieAt('key.activated');
      const victim = await Promise.race(rig.servers.map((server, position) => server.ended.then(() => position)));
      const survivor = 1 - victim;
      rig.servers[survivor]!.dieAt(undefined);
      expect(await rig.servers[victim]!.ended).toMatchObject({ signal: 'SIGKILL' });
      const wrong = await rig.restart(victim, { clockShiftMs: wrongClockMs });
      // The other one is stopped and started, and comes back with a clock that is off, but within the allowed.
      await rig.servers[survivor]!.stop();
      const tolerable = await rig.restart(survivor, { clockShiftMs: -tolerableClockMs });

      const offsetMs = expect.toSatisfy(
        (offset: number) => Math.abs(offset - wrongClockMs) < 400 + judge.slowestMs,
        'about 3 s',
      );
      expect(wrong.log).toContainEqual(
        expect.objectContaining({ event: 'rotation.clock_off', level: 'warn', offsetMs }),
      );
      expect(await wrong.health()).toMatchObject({ status: 503, body: { keys: { ok: false, clockOffset: offsetMs } } });
      expect(await tolerable.health()).toMatchObject({ status: 200, body: { keys: { ok: true } } });
      expect(tolerable.log.map(({ event }) => event)).not.toContain('rotation.clock_off');

      // An ordinary rotation, and two by hand, as close together as the conditions allow: too early is refused, and
      // nothing happens. Of the second nobody is told, as when whoever made it died at once: each server finds out when
      // it looks. One service sleeps: it stops before the second of these keys is published and wakes when it signs.
      await until((await activatedAt()) + ms(scaledKeys.rotateEvery - 0.5 * pace));
      await pausable.pause();
      await rotated();
      const unheard = createKeyring({ ...store, db: { ...store.db, announce: async () => {} } });
      for (const keyring of [store.keyring, unheard]) {
        await rotated(async () => {
          const { kid } = await nextKey(keyring);
          await expect(keyring.activate(kid, byHand)).rejects.toMatchObject({ code: 'key_step_unsafe' });
          await nextKeyIsKnown();
          await keyring.activate(kid, byHand);
        });
        await rig.signed((await rig.activations()).at(-1)!.kid);
        if (!pausable.paused()) continue;
        await pause(500 * pace);
        pausable.resume();
        await Promise.all(judge.accessTokens.slice(-10).map((token) => judge.show(token)));
      }
      const [one, other] = (await rig.activations()).slice(-2).map((key) => key.activatedAt);
      expect(other! - one!).toBeLessThan(ms(60));

      await pause(1000 * pace);
      console.log(await report('Rotation under load', rig));
      await expectNoHarm();
      const keys = await rig.activations();
      expect(keys.length).toBeGreaterThanOrEqual(6);
      expect(balancer.jwksFailures).toBeGreaterThan(0);
      // There was a load, whatever the machine is capable of: the report above says how much.
      expect(load.counts.signIns).toBeGreaterThan(5);
      expect(load.counts.clientCredentials).toBeGreaterThan(20);
      for (const { refreshedAt } of load.chains) expect(refreshedAt.length).toBeGreaterThan(5);
      expect(judge.verified.size).toBe(6);
      for (const count of judge.verified.values()) expect(count).toBeGreaterThan(50);
      for (const { kid } of keys.slice(-2)) await rig.signed(kid);
    },
    120_000 * pace,
  );

  test(
    'an emergency: the revoked key is believed no longer than stated, and nobody has to sign in again',
    async () => {
      const { judge, load, store } = rig;
      const countOf = async (state: string) => (await store.keyring.list()).filter((key) => key.state === state).length;
      const revokedBefore = await countOf('revoked');
      const next = await nextKeyIsKnown();
      const lost = await revokeActiveKey();
      expect((await rig.activations()).slice(-2).map(({ kid }) => kid)).toEqual([lost.kid, next]);

      // A server notices within pollEvery, and a verifier asks again within the max-age.
      const boundMs = ms(scaledKeys.pollEvery + scaledKeys.jwksMaxAge);
      await until(lost.revokedAt + boundMs + 50);
      const { keys } = (await (await fetch(`${rig.issuer}/jwks`)).json()) as { keys: { kid: string }[] };
      expect(keys[0]).toMatchObject({ kid: next });
      expect(keys.map(({ kid }) => kid)).not.toContain(lost.kid);
      const unspent = judge.accessTokens.filter(
        ({ kid, expiresAt }) => kid === lost.kid && expiresAt > Date.now() + 300 * pace,
      );
      expect(unspent.length).toBeGreaterThan(0);
      await Promise.all(unspent.map((token) => judge.show(token)));
      await pause(1500 * pace);

      expect(judge.refused).toEqual([]);
      for (const name of ['ours', 'ours, paused across a rotation', 'by max-age only']) {
        expect((judge.revokedAccepted.get(name) ?? 0) - lost.revokedAt, name).toBeLessThanOrEqual(
          boundMs + judge.slowestMs,
        );
      }
      const signedSince = () =>
        judge.signatures.filter(({ requestedAt }) => requestedAt > lost.revokedAt + propagationMs + judge.slowestMs);
      while (signedSince().length <= 5) await pause(100);
      const fresh = signedSince();
      // The next hand-over comes as soon as its key is known everywhere, which may be before this is read.
      const activated = (await rig.activations()).map(({ kid }) => kid);
      const since = activated.slice(activated.indexOf(lost.kid) + 1);
      expect(since).toContain(next);
      for (const { kid } of fresh) expect(since).toContain(kid);
      for (const { refreshedAt } of load.chains) {
        expect(refreshedAt.filter((at) => at > lost.revokedAt + boundMs).length).toBeGreaterThan(0);
      }

      // And an emergency right after an emergency: the key that took over is lost as well, before a server has made the
      // next one. What signs now nobody can have fetched before it existed, so whoever goes by the max-age alone refuses
      // good tokens, for as long as the servers and it take to follow and no longer. Who asks for an unknown key has it.
      await nextKeyIsKnown();
      await revokeActiveKey();
      const { revokedAt } = await revokeActiveKey();
      await until(revokedAt + boundMs + 1000 * pace);
      const late = judge.refused.splice(0);
      for (const refusal of late)
        expect(refusal.at - revokedAt, refusal.by).toBeLessThanOrEqual(boundMs + judge.slowestMs);
      expect(late.map(({ by }) => by)).not.toContain('ours');

      await load.stop();
      await judge.settled();
      const lateOf = (name: string) => late.filter(({ by }) => by === name).length;
      console.log(
        await report('And three emergencies', rig, [
          [
            'refused after the one without a next key',
            [...new Set(late.map(({ by }) => by))].map((name) => `${name} ${lateOf(name)}`).join('; ') || 'none',
          ],
        ]),
      );
      await expectNoHarm();
      expect(await countOf('revoked')).toBe(revokedBefore + 3);
      expect(await countOf('destroyed')).toBeGreaterThanOrEqual(2);
    },
    60_000 * pace,
  );
});
