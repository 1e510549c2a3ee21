// What a revocation check costs a service per request, once the list is here: a look at the clock and at a bit.

import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Reading } from '../../src/verifier/claims.ts';
import { createComponents } from '../../src/verifier/components.ts';
import type { Revocation } from '../../src/verifier/revocation.ts';
import { audience, startTestIssuer, type TestIssuer } from './issuer.ts';
import { serveList, statusOf } from './status-lists.ts';

let issuer: TestIssuer;
let revocation: Revocation;
let close: () => void;
beforeAll(async () => {
  issuer = await startTestIssuer();
  issuer.clock.now = Date.now();
  serveList(issuer, { set: [9], size: 1 << 20 });
  const now = issuer.clock.now;
  // Not Date.now, which makes a number object of 16 bytes each time; here all that is made is the check's own.
  const parts = createComponents({ issuer: issuer.issuer, audience, now: () => now });
  revocation = parts.revocation;
  close = () => {
    revocation.close();
    parts.keys.close();
  };
  await revocation.check(readingOf(0)); // the first one waits for its list
});
afterAll(async () => {
  close();
  await issuer.close();
});

/** The part of a token that was read that a check looks at. */
const readingOf = (idx: number) => ({ status: statusOf(issuer, idx).status.status_list }) as Reading;

test('the answer is there at once, not promised', () => {
  expect(revocation.check(readingOf(8))).toBeUndefined();
  expect(() => revocation.check(readingOf(9))).toThrow(expect.objectContaining({ code: 'revoked' }));
});

test('no memory is taken, however many are checked', () => {
  const readings = Array.from({ length: 64 }, (_, at) => readingOf(at === 9 ? 0 : at));
  const perRound = 50_000;
  const rounds = Array.from({ length: 41 }, () => {
    const before = process.memoryUsage().heapUsed;
    for (let n = 0; n < perRound; n += 1) revocation.check(readings[n & 63]!);
    return process.memoryUsage().heapUsed - before;
  });
  // The middle one: the first hold what the compiler makes, and one in which garbage was collected is below zero. The
  // smallest thing that can be made takes 16 bytes.
  const [middle] = rounds.toSorted((a, b) => a - b).slice(20);
  expect(middle! / perRound).toBeLessThan(1);
  expect(middle! / perRound).toBeGreaterThan(-1);
});
