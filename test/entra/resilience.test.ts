import { randomBytes } from 'node:crypto';
import { getHeapSnapshot } from 'node:v8';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type EntraSim, startEntraSim } from '../../entra-sim/index.ts';
import { BreakerOpen, createBreaker } from '../../src/entra/breaker.ts';
import { issuer, type Rig, startRig } from './rig.ts';

let sim: EntraSim;
let rig: Rig;
beforeAll(async () => {
  sim = await startEntraSim();
});
afterAll(() => sim.close());
beforeEach(async () => {
  sim.reset();
  sim.signInAs('alice');
  rig = await startRig(sim);
  return () => rig.close();
});

/** Browsers that are back from Microsoft, one step before the end. */
async function back(count: number) {
  const waiting = [];
  for (let at = 0; at < count; at += 1) {
    const agent = rig.agent();
    waiting.push({ agent, callback: await rig.atMicrosoft(await rig.begin(agent)) });
  }
  return waiting;
}

describe('E20 one person’s failure', () => {
  test.each([
    ['500', { status: 500, body: {} }],
    ['429 for an hour', { status: 429, body: { error: 'temporarily_unavailable' }, retryAfter: 3600 }],
    ['a refusal with Retry-After', { status: 400, body: { error: 'invalid_grant' }, retryAfter: 3600 }],
    ['a page', { body: '<html>' }],
  ])('(%s), ten times over, is nobody else’s', async (_name, fault) => {
    sim.fault('token', { ...fault, when: { user: 'alice' } });
    for (let at = 0; at < 10; at += 1) await rig.signIn();
    expect(rig.completed).toEqual([]);
    sim.signInAs('bob');
    await rig.identify();
    expect(rig.connector.health().state).toBe('ok');
  });

  test('leaves no token in memory, nor does a success', async () => {
    // Only the beginning is known here: the whole is never held by this test.
    const marker = ['entra', 'token', 'marker', ''].join('-');
    const marked = () => `${marker}${randomBytes(20).toString('hex')}`;
    const inHeap = async () => {
      const found = new Set<string>();
      let rest = '';
      for await (const chunk of getHeapSnapshot()) {
        const text = rest + String(chunk);
        for (const [match] of text.matchAll(new RegExp(`${marker}[0-9a-f]{40}`, 'g'))) found.add(match);
        rest = text.slice(-200);
      }
      return found.size;
    };
    for (let at = 0; at < 8; at += 1) {
      sim.nextTokenResponse({ set: { access_token: marked(), refresh_token: marked() } });
      if (at % 2 !== 0) sim.nextIdToken({ sign: 'rogue' });
      await (at % 2 === 0 ? rig.identify() : rig.signIn());
    }
    // Through JSON, as tokens come: V8 keeps a template's result as a tree of its parts, which no text search finds.
    const held = JSON.parse(JSON.stringify({ token: marked() })) as { token: string };
    expect(await inHeap()).toBe(1); // the one that is held shows that it would be seen
    expect(held.token).toHaveLength(marker.length + 40);
  });
});

describe('E37 Microsoft that is away', () => {
  test('stops neither the start nor the way to its page', async () => {
    await sim.stop();
    try {
      const cold = await startRig(sim);
      expect(await cold.begin(cold.agent())).toContain('https://login.microsoftonline.com/');
      expect(cold.connector.health().state).toBe('ok');
      await cold.close();
    } finally {
      await sim.restart();
    }
  });

  test('is waited for by nobody after five failures; then one at a time finds out, and all goes on', async () => {
    const waiting = await back(9);
    const next = async () => {
      const { agent, callback } = waiting.pop()!;
      return rig.comeBack(agent, callback);
    };
    await sim.stop();
    for (let failure = 0; failure < 5; failure += 1) expect((await next()).status).toBe(503);
    expect(rig.failures.map(({ facts }) => facts.reason)).toEqual(Array(5).fill('unreachable'));
    expect(rig.connector.health().state).toBe('degraded');

    // Held back: neither begun nor ended, and the sign-in at hand is kept.
    await sim.restart();
    const kept = waiting.at(-1)!;
    expect((await rig.comeBack(kept.agent, kept.callback)).headers.get('retry-after')).toBe('15');
    const begun = await rig.agent().request(`${issuer}/begin/one`);
    expect(begun.status).toBe(503);
    expect(rig.failures.at(-1)).toMatchObject({
      failure: 'transient',
      downstream: 'temporarily_unavailable',
      facts: { uid: 'one' },
    });
    expect(sim.requests('token')).toEqual([]);

    rig.clock.advance(16);
    await next(); // the one that was turned away a moment ago
    await next();
    expect(rig.completed).toHaveLength(2);
    expect(rig.connector.health().state).toBe('ok');
  });

  test('still away at the next look is waited for again', async () => {
    const waiting = await back(7);
    await sim.stop();
    for (const { agent, callback } of waiting.slice(0, 5)) await rig.comeBack(agent, callback);
    rig.clock.advance(16);
    await rig.comeBack(waiting[5]!.agent, waiting[5]!.callback);
    expect(rig.failures.at(-1)!.facts.reason).toBe('unreachable');
    await rig.comeBack(waiting[6]!.agent, waiting[6]!.callback);
    expect(rig.failures.at(-1)!.facts.retryAfterSeconds).toBe(15);
    await sim.restart();
  });
});

describe('what is counted', () => {
  const breakerAt = (clock: { now: number }) =>
    createBreaker(
      (error) => (error as Error).message as 'everybody' | 'somebody' | 'nobody',
      () => clock.now,
    );
  const fail = (blame: string) => () => Promise.reject(new Error(blame));

  test('refusals are answers: they count for Microsoft, not against it', async () => {
    const breaker = breakerAt({ now: 0 });
    for (let at = 0; at < 4; at += 1) await breaker.run('a', fail('everybody')).catch(() => {});
    await breaker.run('a', fail('nobody')).catch(() => {});
    for (let at = 0; at < 4; at += 1) await breaker.run('a', fail('everybody')).catch(() => {});
    expect(breaker.isClosed()).toBe(true);
  });

  test('what may be one person’s counts once for each: five of them are an outage', async () => {
    const breaker = breakerAt({ now: 0 });
    for (let at = 0; at < 20; at += 1) await breaker.run('a', fail('somebody')).catch(() => {});
    expect(breaker.isClosed()).toBe(true);
    for (const who of ['b', 'c', 'd', 'e']) await breaker.run(who, fail('somebody')).catch(() => {});
    expect(breaker.isClosed()).toBe(false);
  });

  test('failures far apart are not an outage', async () => {
    const clock = { now: 0 };
    const breaker = breakerAt(clock);
    for (; clock.now < 300_000; clock.now += 10_000) await breaker.run('a', fail('everybody')).catch(() => {});
    expect(breaker.isClosed()).toBe(true);
  });

  test('while one finds out, the others do not', async () => {
    const clock = { now: 0 };
    const breaker = breakerAt(clock);
    for (let at = 0; at < 5; at += 1) await breaker.run('a', fail('everybody')).catch(() => {});
    await expect(breaker.run('a', async () => 1)).rejects.toBeInstanceOf(BreakerOpen);
    clock.now = 15_000;
    let answer = (_value: string) => {};
    const probe = breaker.run(
      'a',
      () =>
        new Promise<string>((resolve) => {
          answer = resolve;
        }),
    );
    await expect(breaker.run('b', async () => 1)).rejects.toBeInstanceOf(BreakerOpen);
    answer('there it is');
    expect(await probe).toBe('there it is');
    expect(await breaker.run('b', async () => 1)).toBe(1);
  });
});

describe('E39 a clock here that is fast', () => {
  test('is named when Entra finds an assertion not valid yet, and the hint is to set it', async () => {
    rig.clock.advance(600);
    sim.fault('token', { aadsts: 700024 });
    const agent = rig.agent();
    await rig.comeBack(agent, await rig.atMicrosoft(await rig.begin(agent)));
    const lines = rig
      .logged()
      .trim()
      .split('\n')
      .map((one) => JSON.parse(one));
    const line = lines.find(({ event }) => event === 'entra.credential_refused');
    expect(line).toMatchObject({ numbers: [700024], hint: expect.stringContaining('the clock of this server') });
    expect(Math.abs(line.clockAheadSeconds - 600)).toBeLessThan(5);
    const failed = lines.find(({ event }) => event === 'entra.sign_in_failed');
    expect(failed).toMatchObject({ aadsts: [700024], hint: line.hint });
  });
});
