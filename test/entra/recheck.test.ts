import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type EntraSim, type Fault, hostileIdTokens, startEntraSim } from '../../entra-sim/index.ts';
import { type FailureClass, failures } from '../../src/entra/errors.ts';
import type { EntraIdentity } from '../../src/entra/identity.ts';
import { ofAnswers, ofFailures, ofTokens } from '../../src/entra/recheck.ts';
import { noteSecret } from '../support/secrets.ts';
import { type Rig, startRig } from './rig.ts';

let sim: EntraSim;
let rig: Rig;
let alice: EntraIdentity;
beforeAll(async () => {
  sim = await startEntraSim();
  rig = await startRig(sim, { config: { recheck: { every: '15m' }, graph: true } });
});
afterAll(async () => {
  await rig.close();
  await sim.close();
});
beforeEach(async () => {
  sim.reset();
  sim.user('alice').enable().assign(sim.app).refuse(undefined);
  sim.signInAs('alice');
  rig.connector.invalidateKeys();
  alice = await rig.identify();
  noteSecret('refresh token', alice.upstreamRefreshToken);
  sim.log.clear();
});

const recheck = (expected: { tid: string; oid: string } = alice) =>
  rig.connector.recheck(alice.upstreamRefreshToken!, expected);
const ended = (reason: string) => ({ outcome: 'ended', reason });
const lastLine = () => JSON.parse(rig.logged().trim().split('\n').at(-1)!);
const unreachable = (reason: string) => ({ outcome: 'unreachable', reason });

describe('E33 a person who is checked again', () => {
  test('and still may sign in is told as they are now, with the refresh token that goes on', async () => {
    sim.user('alice').rename('Alice Married').roles(['Writer']).groups(3);
    const again = await recheck();
    expect(again).toMatchObject({
      outcome: 'ok',
      identity: {
        tid: alice.tid,
        oid: alice.oid,
        name: 'Alice Married',
        appRoles: ['Writer'],
        groups: { kind: 'complete', ids: sim.user('alice').allGroupIds },
      },
    });
    const { upstreamRefreshToken } = (again as { identity: EntraIdentity }).identity;
    noteSecret('refresh token', upstreamRefreshToken);
    expect(upstreamRefreshToken).not.toBe(alice.upstreamRefreshToken);
    expect(await rig.connector.recheck(upstreamRefreshToken!, alice)).toMatchObject({ outcome: 'ok' });
  });

  test('goes on with the refresh token there is, where Entra sends no other', async () => {
    sim.nextTokenResponse({ drop: ['refresh_token'] });
    const { upstreamRefreshToken } = alice;
    expect(await recheck()).toMatchObject({ outcome: 'ok', identity: { upstreamRefreshToken } });
  });

  test('is asked for in one request with the secret in its body, and a token that nobody else sees', async () => {
    await recheck();
    expect(sim.requests('token')).toHaveLength(1);
    sim.log.assertOnlySeenAt('token', alice.upstreamRefreshToken!);
  });

  test.each([
    ['disabled', () => sim.user('alice').disable(), 'invalid_grant'],
    ['not assigned any more', () => sim.user('alice').unassign(sim.app), 'invalid_grant'],
    ['signed out everywhere', () => sim.user('alice').revokeSessions(), 'bad_token'],
    ['blocked by policy', () => sim.user('alice').refuse(53003), 'message_only'],
    ['asked for another factor', () => sim.user('alice').refuse(50076, '{"access_token":{}}'), 'basic_action'],
    ['too long away', () => sim.user('alice').refuse(700082), 'token_expired'],
    ['asked too seldom', () => sim.user('alice').refuse(70043), 'token_expired'],
  ])('and is %s is out', async (_name, change, reason) => {
    change();
    expect(await recheck()).toEqual(ended(reason));
  });

  test('and is somebody else is out, and an operator hears of it', async () => {
    const { oid } = sim.user('bob');
    sim.nextIdToken({ claims: { oid } });
    expect(await recheck()).toEqual(ended('wrong_object'));
    expect(lastLine()).toMatchObject({
      level: 'error',
      event: 'entra.recheck_failed',
      failure: 'forged',
      oid: alice.oid,
    });
    expect(await recheck({ tid: sim.tenant('fabrikam').id, oid: alice.oid })).toEqual(ended('wrong_object'));
  });

  const placeholder = { id: '00000000-0000-4000-8000-000000000000', loginHost: 'login.microsoftonline.com' } as never;
  const rows = hostileIdTokens(placeholder, placeholder)
    .map(({ name }) => name)
    .filter((name) => !['another nonce', 'no nonce'].includes(name)); // a refresh repeats none
  // No forgery, as far as anybody can tell: no token, a key that was not heard of yet, another idea of what time it is.
  const saysNothing: Record<string, string> = {
    'no ID token': 'malformed',
    'not a JWT': 'rejected_by_msal',
    'signed by a rogue key under an unknown kid': 'unknown_key',
    'no kid': 'unknown_key',
    "signed by the personal accounts' key": 'unknown_key',
    'expired a day ago': 'expired',
    'not valid before tomorrow': 'not_yet_valid',
  };

  test.each(rows)('E16 with an ID token that has %s is not let through: verified as at a sign-in', async (name) => {
    const row = hostileIdTokens(sim.tenant('contoso'), sim.tenant('fabrikam')).find((each) => each.name === name)!;
    sim.nextIdToken(row.doctoring);
    const reason = saysNothing[name];
    expect(await recheck()).toMatchObject(reason === undefined ? { outcome: 'ended' } : unreachable(reason));
    expect(lastLine()).toMatchObject(
      reason === undefined
        ? { level: 'error', event: 'entra.recheck_failed', verdict: 'ended' }
        : { level: 'warn', event: 'entra.recheck_failed', reason },
    );
  });

  test('with an ID token that brings a key of its own is out', async () => {
    sim.nextIdToken({ sign: 'rogue', header: { jku: 'https://attacker.example/keys' } });
    expect(await recheck()).toEqual(ended('wrong_header'));
  });

  test('where the clock here is wrong is nobody’s end: the log says by how much', async () => {
    for (const [seconds, reason] of [
      [-900, 'not_yet_valid'],
      [7200, 'expired'],
    ] as const) {
      rig.clock.advance(seconds);
      expect(await recheck()).toEqual(unreachable(reason));
      const { level, verdict, hint, clockAheadSeconds } = lastLine();
      expect([level, verdict, hint]).toEqual(['warn', 'ours', expect.stringContaining('the clock of this server')]);
      expect(Math.abs(clockAheadSeconds - seconds)).toBeLessThan(10);
      rig.clock.advance(-seconds);
    }
    expect(await recheck()).toMatchObject({ outcome: 'ok' });
  });

  test('with a key that Microsoft signs with and does not publish yet is nobody’s end', async () => {
    const { loginHost, id } = sim.tenant('contoso');
    const published = JSON.parse(JSON.stringify(sim.keys.jwks(loginHost, id)));
    await sim.keys.rotate();
    const lift = sim.fault('keys', { body: published });
    expect(await recheck()).toEqual(unreachable('unknown_key'));
    lift();
    rig.connector.invalidateKeys();
    expect(await recheck()).toMatchObject({ outcome: 'ok' });
  });
});

describe('E33 while Microsoft cannot be asked', () => {
  test.each<[string, Fault, string]>([
    ['fails', { status: 503 }, 'failing'],
    ['is busy', { status: 429, retryAfter: 5 }, 'throttled'],
    ['answers with a page', { body: '<html>' }, 'not_json'],
    ['refuses with a page, as a proxy does', { status: 403, body: '<html>blocked</html>' }, 'not_json'],
    ['answers with nothing', { body: '' }, 'not_json'],
    ['answers with half of an answer', { body: '{"id_token":"ey' }, 'not_json'],
    ['answers with null', { body: null }, 'not_json'],
    ['answers with a list', { body: [] }, 'not_json'],
    ['answers with an empty object', { body: {} }, 'malformed'],
    ['refuses without saying why', { status: 400, body: {} }, 'not_json'],
    ['answers with another product’s error', { status: 404, body: { error: 'not_found' } }, 'not_found'],
    ['sends elsewhere', { status: 302, redirectTo: 'https://maintenance.example/' }, 'redirected'],
    ['sends elsewhere, with the secret', { status: 307, redirectTo: 'https://maintenance.example/' }, 'redirected'],
    ['redirects to nowhere', { status: 302, body: '' }, 'redirected'],
    ['answers with more than a megabyte', { body: 'x'.repeat(1_200_000) }, 'too_large'],
    ['answers with something packed', { gzipBombMegabytes: 2 }, 'encoded'],
    ['resets the connection', { reset: 'after-read' }, 'lost'],
    ['resets the connection before it has read', { reset: 'before-read' }, 'lost'],
    ['says that it is overloaded', { aadsts: 90055 }, 'throttled'],
    ['says that our credential has expired', { aadsts: 7000222 }, 'invalid_client'],
    ['says that our clock is wrong', { aadsts: 700024 }, 'invalid_client'],
    ['does not know the application', { aadsts: 700016 }, 'unauthorized_client'],
    ['does not know the scope', { aadsts: 70011 }, 'invalid_scope'],
  ])('since it %s, nothing is known of the person', async (_name, fault, reason) => {
    sim.fault('token', fault);
    expect(await recheck()).toEqual(unreachable(reason));
    sim.log.assertNeverCarried(alice.upstreamRefreshToken!, 'maintenance.example');
  });

  test.each(['expired', 'wrong-host', 'unknown-ca'] as const)(
    'since its certificate is not good (%s), nothing is known of the person',
    async (mode) => {
      await sim.tls(mode);
      expect(await recheck()).toEqual(unreachable('unreachable'));
      expect(sim.requests('token')).toEqual([]);
      await sim.tls('good');
    },
  );

  test('since it hangs, nothing is known of the person', async () => {
    sim.fault('token', { hang: 'before-headers' });
    expect(await recheck()).toEqual(unreachable('lost'));
  }, 60_000);

  test('since it is away altogether, nothing is known of the person; and when it is back, all is', async () => {
    await sim.stop();
    try {
      expect(await recheck()).toEqual(unreachable('unreachable'));
    } finally {
      await sim.restart();
    }
    expect(await recheck()).toMatchObject({ outcome: 'ok' });
  });

  test('since its keys cannot be had, nothing is known of the person', async () => {
    rig.connector.invalidateKeys();
    sim.fault('keys', { status: 503 });
    expect(await recheck()).toEqual(unreachable('keys_unavailable'));
  });
});

describe('E33 the table of what ends a person', () => {
  const having = (table: Record<string, string>, verdict: string) =>
    Object.keys(table)
      .filter((name) => table[name] === verdict)
      .sort();

  test('has what Microsoft says of a person and what is forged; all else is an outage, or ours to repair', () => {
    expect(having(ofAnswers, 'ended')).toEqual([]);
    expect(having(ofAnswers, 'ours')).toEqual(['not_allowed']);
    expect(having(ofTokens, 'outage')).toEqual(['malformed', 'unknown_key']);
    expect(having(ofTokens, 'ours')).toEqual(['expired', 'not_yet_valid']);
    expect(having(ofFailures, 'outage')).toEqual(['transient']);
    expect(having(ofFailures, 'ours')).toEqual(['app_config', 'credential']);
  });

  const refusals = (Object.keys(failures) as FailureClass[]).flatMap((failure) =>
    failures[failure].numbers.map((number) => [number, failure, ofFailures[failure]] as const),
  );
  test.each(refusals)('AADSTS%i (%s): %s', async (number, _failure, verdict) => {
    sim.fault('token', { aadsts: number });
    expect((await recheck()).outcome).toBe(verdict === 'ended' ? 'ended' : 'unreachable');
  });
});
