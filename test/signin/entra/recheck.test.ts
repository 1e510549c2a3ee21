import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { EntraIdentity } from '../../../src/signin/entra/identity.ts';
import { hostileIdTokens, startEntraSim, type EntraSim } from '../../entra-sim/index.ts';
import { noteSecret } from '../../support/secrets.ts';
import { startRig, type Rig } from './rig.ts';

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
  rig.connector.forgetKeys();
  alice = await rig.identify();
  noteSecret('refresh token', alice.upstreamRefreshToken);
  sim.log.clear();
});

const recheck = (expected: { tid: string; oid: string } = alice) =>
  rig.connector.recheck(alice.upstreamRefreshToken!, expected);
const ended = (reason: string) => ({ outcome: 'ended', reason });
const unreachable = (reason: string) => ({ outcome: 'unreachable', reason });

describe('E33 a person who is checked again', () => {
  test('and still may sign in is told as they are now, with the refresh token that goes on', async () => {
    sim.user('alice').rename('Alice Married').roles(['Writer']).groups(3);
    const again = await recheck();
    expect(again).toMatchObject({ outcome: 'ok', identity: {
      tid: alice.tid, oid: alice.oid, name: 'Alice Married', appRoles: ['Writer'],
      groups: { kind: 'complete', ids: sim.user('alice').allGroupIds },
    } });
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
    expect(rig.logged().trim().split('\n').map((line) => JSON.parse(line)).at(-1)).toMatchObject({
      level: 'error', event: 'entra.recheck_failed', failure: 'forged', oid: alice.oid,
    });
    expect(await recheck({ tid: sim.tenant('fabrikam').id, oid: alice.oid })).toEqual(ended('wrong_object'));
  });

  const placeholder = { id: '00000000-0000-4000-8000-000000000000', loginHost: 'login.microsoftonline.com' } as never;
  const rows = hostileIdTokens(placeholder, placeholder).map(({ name }) => name)
    .filter((name) => !['another nonce', 'no nonce'].includes(name)); // a refresh repeats none

  test.each(rows)('E16 with an ID token that has %s is out: a refresh is verified like a sign-in', async (name) => {
    const row = hostileIdTokens(sim.tenant('contoso'), sim.tenant('fabrikam')).find((each) => each.name === name)!;
    sim.nextIdToken(row.doctoring);
    expect(await recheck()).toMatchObject({ outcome: 'ended' });
  });
});

describe('E33 while Microsoft cannot be asked', () => {
  test.each([
    ['fails', { status: 503 }, 'failing'],
    ['is busy', { status: 429, retryAfter: 5 }, 'throttled'],
    ['answers with a page', { body: '<html>' }, 'not_json'],
    ['resets the connection', { reset: 'after-read' as const }, 'lost'],
    ['says that our credential has expired', { aadsts: 7000222 }, 'invalid_client'],
    ['does not know the application', { aadsts: 700016 }, 'unauthorized_client'],
  ])('since it %s, nothing is known of the person', async (_name, fault, reason) => {
    sim.fault('token', fault);
    expect(await recheck()).toEqual(unreachable(reason));
  });

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
    rig.connector.forgetKeys();
    sim.fault('keys', { status: 503 });
    expect(await recheck()).toEqual(unreachable('keys_unavailable'));
  });
});
