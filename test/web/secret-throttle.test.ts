// Wrong client secrets with a simulated clock; what applications meet over HTTP is in flows/client-secrets.test.ts.

import { expect, test } from 'vitest';
import { createSecretThrottle } from '../../src/web/secret-throttle.ts';

/** A throttle whose clock goes on when something waits. */
function simulated({ workers = 1 } = {}) {
  let now = 1_800_000_000_000;
  const waiting: Array<{ until: number; goOn: () => void }> = [];
  const throttle = createSecretThrottle({
    workers,
    now: () => now,
    wait: (ms) => new Promise<void>((goOn) => waiting.push({ until: now + ms, goOn })),
  });
  let looked = 0;
  const send = (isRight: boolean, { from = '192.0.2.1', clientId = 'shop' } = {}) =>
    throttle
      .check(clientId, from, () => {
        looked += 1;
        return isRight;
      })
      .catch(() => 'too many' as const);
  return {
    send,
    looked: () => looked,
    async passMs(ms: number) {
      now += ms;
      for (const one of waiting.splice(0))
        if (one.until <= now) one.goOn();
        else waiting.push(one);
      await new Promise(setImmediate);
    },
  };
}

/** How many were looked at of twenty wrong ones each hundredth of a second, for a second. */
async function lookedAtInASecond(options?: { workers: number }): Promise<number> {
  const { send, looked, passMs } = simulated(options);
  const answers: Array<ReturnType<typeof send>> = [];
  for (let tick = 0; tick < 1_000; tick += 10) {
    for (let each = 0; each < 20; each += 1) answers.push(send(false));
    await passMs(10);
  }
  await passMs(1_000);
  expect(new Set(await Promise.all(answers))).toEqual(new Set([false, 'too many']));
  return looked();
}

test('of thousands of wrong secrets a second, ten are looked at, and then twenty a second', async () => {
  const looked = await lookedAtInASecond();
  expect(looked).toBeGreaterThan(15);
  expect(looked).toBeLessThanOrEqual(10 + 20 + 5);
});

test('of several workers, each looks at its share of the twenty', async () => {
  const looked = await lookedAtInASecond({ workers: 4 });
  expect(looked).toBeGreaterThan(12);
  expect(looked).toBeLessThanOrEqual(10 + 20 / 4 + 5);
});

test('who stops sending wrong ones has some free again within two minutes', async () => {
  const { send, passMs } = simulated();
  for (let time = 0; time < 60; time += 1) {
    const answer = send(false);
    await passMs(50);
    await answer;
  }
  const once = send(false);
  await passMs(50);
  expect(await once).toBe('too many');
  await passMs(120_000);
  for (let time = 0; time < 10; time += 1) expect(await send(false)).toBe(false);
});

test('addresses without number fill no memory, and who has the right secret is let in after them', async () => {
  const { send } = simulated();
  expect(await send(true, { from: '198.51.100.1' })).toBe(true);
  const before = process.memoryUsage().heapUsed;
  for (let index = 0; index < 60_000; index += 1) {
    await send(false, { from: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`, clientId: 'x'.repeat(100) });
  }
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(60 * 1024 * 1024);
  expect(await send(true, { from: '198.51.100.1' })).toBe(true);
});
