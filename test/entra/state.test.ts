import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Database } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { openDatabase } from '../../src/database/open.ts';
import {
  type BegunSignIn,
  createStates,
  type SignInReply,
  type States,
  stateLifeSeconds,
} from '../../src/entra/state.ts';
import { createSeal } from '../../src/keys/seal.ts';
import { engines } from '../support/engines.ts';

const begun: BegunSignIn = {
  uid: 'uid-1',
  app: 'entra public tenant client',
  redirectUri: 'https://signet.example/sign-in/entra/callback',
  codeVerifier: 'the-code-verifier',
  nonce: 'the-nonce',
  correlationId: 'the-correlation-id',
  options: { loginHint: 'ada@contoso.example' },
  isSecondTry: false,
};

describe.each(engines)('E6 E7 a sign-in that is at Microsoft, on $name', ({ freshUrl }) => {
  let dbs: Database[];
  let now = Date.now();
  /** Two servers on one database. */
  let servers: [States, States];
  beforeAll(async () => {
    const url = await freshUrl();
    dbs = [await openDatabase(url), await openDatabase(url)];
    await migrate(dbs[0]!);
    const seal = () => createSeal([Buffer.alloc(32, 7)]);
    servers = [createStates(dbs[0]!, seal(), () => now), createStates(dbs[1]!, seal(), () => now)];
  });
  afterAll(async () => {
    for (const db of dbs) await db.close();
  });

  const codeReply = (state: string): SignInReply => ({ kind: 'code', state, code: 'the-code-of-microsoft' });
  const direct = { isStashed: false };
  const stashed = { isStashed: true };
  const rows = async () => (await dbs[0]!.query<{ n: number }>('select count(*) as n from entra_states')).rows[0]!.n;

  test('E6 comes back to any of the servers as it was begun, and is gone', async () => {
    const { state, browser } = await servers[0].begin(begun, '192.0.2.1');
    expect(await servers[1].take(state, browser, direct)).toEqual({ begun });
    expect(await servers[0].take(state, browser, direct)).toBeUndefined();
  });

  test('E6 is taken once, however many ask two servers for it at the same moment', async () => {
    for (let round = 0; round < 5; round += 1) {
      const { state, browser } = await servers[0].begin(begun, '192.0.2.1');
      const takers = Array.from({ length: 20 }, (_, at) => servers[at % 2]!.take(state, browser, direct));
      expect((await Promise.all(takers)).filter(Boolean)).toEqual([{ begun }]);
    }
  });

  test('E6 is nobody else’s: another browser, tab or state takes nothing, and leaves it where it is', async () => {
    const [mine, other] = [
      await servers[0].begin(begun, '192.0.2.1'),
      await servers[0].begin({ ...begun, uid: 'uid-2' }, '192.0.2.1'),
    ];
    const random = randomBytes(32).toString('base64url');
    expect(await servers[0].take(mine.state, other.browser, direct)).toBeUndefined();
    expect(await servers[0].take(mine.state, '', direct)).toBeUndefined();
    expect(await servers[0].take(random, mine.browser, direct)).toBeUndefined();
    expect(await servers[0].take('', '', direct)).toBeUndefined();
    expect(await servers[0].take(mine.state, mine.browser, direct)).toEqual({ begun });
    expect((await servers[0].take(other.state, other.browser, direct))!.begun.uid).toBe('uid-2');
  });

  test('E6 ends a quarter of an hour after it began', async () => {
    const [first, second] = [await servers[0].begin(begun, '192.0.2.1'), await servers[0].begin(begun, '192.0.2.1')];
    now += (stateLifeSeconds - 1) * 1000;
    expect(await servers[0].take(first.state, first.browser, direct)).toBeDefined();
    now += 1000;
    expect(await servers[0].take(second.state, second.browser, direct)).toBeUndefined();
    expect(await servers[0].stash(codeReply(second.state))).toBe(false);
  });

  test('E7 waits with what was posted for the browser to come by itself: once, and for a minute', async () => {
    const [first, late] = [await servers[0].begin(begun, '192.0.2.1'), await servers[0].begin(begun, '192.0.2.1')];
    for (const { state } of [first, late]) expect(await servers[0].stash(codeReply(state))).toBe(true);
    expect(await servers[1].take(first.state, first.browser, direct)).toBeUndefined();
    expect(await servers[1].take(first.state, 'another browser', stashed)).toBeUndefined();
    const taken = await servers[1].take(first.state, first.browser, stashed);
    expect(taken).toEqual({ begun, stashed: codeReply(first.state) });
    expect(await servers[0].take(first.state, first.browser, stashed)).toBeUndefined();
    now += 60_000;
    expect(await servers[1].take(late.state, late.browser, stashed)).toBeUndefined();
  });

  test('E7 keeps one of two posts at the same moment; nothing can be posted to no sign-in', async () => {
    const { state, browser } = await servers[0].begin(begun, '192.0.2.1');
    const replies = ['one', 'two'].map((code): SignInReply => ({ kind: 'code', state, code }));
    const kept = await Promise.all(replies.map((reply, at) => servers[at]!.stash(reply)));
    expect([...kept].sort()).toEqual([false, true]);
    expect(await servers[0].stash(codeReply(state))).toBe(false);
    expect((await servers[0].take(state, browser, stashed))!.stashed).toEqual(replies[kept.indexOf(true)]);
    const before = await rows();
    expect(await servers[0].stash(codeReply(randomBytes(32).toString('base64url')))).toBe(false);
    expect(await rows()).toBe(before);
    const unposted = await servers[0].begin(begun, '192.0.2.1');
    expect(await servers[0].take(unposted.state, unposted.browser, stashed)).toBeUndefined();
  });

  test('E6 shows nothing to who reads the database, and what is moved to another row does not open', async () => {
    await dbs[0]!.query('delete from entra_states');
    const [mine, other] = [
      await servers[0].begin(begun, '192.0.2.1'),
      await servers[0].begin({ ...begun, uid: 'uid-2' }, '192.0.2.1'),
    ];
    await servers[0].stash(codeReply(mine.state));
    const { rows: stored } = await dbs[0]!.query('select * from entra_states');
    const secrets = [mine.state, mine.browser, begun.codeVerifier, begun.nonce, 'the-code-of-microsoft', 'ada@contoso'];
    for (const secret of secrets) expect(JSON.stringify(stored)).not.toContain(secret);
    await dbs[0]!.query(
      `update entra_states set begun = (select begun from entra_states where parked is not null)
       where parked is null`,
    );
    await expect(servers[0].take(other.state, other.browser, direct)).rejects.toThrow();
  });

  test('E40 is swept when it has ended, so many at a time', async () => {
    for (let count = 0; count < 3; count += 1) await servers[0].begin(begun, '192.0.2.1');
    now += stateLifeSeconds * 1000;
    const alive = await servers[0].begin(begun, '192.0.2.1');
    const expired = (await rows()) - 1;
    expect(expired).toBeGreaterThan(2);
    expect(await servers[0].sweepExpired(now, 2)).toBe(2);
    expect(await servers[0].sweepExpired(now, 1000)).toBe(expired - 2);
    expect(await servers[0].sweepExpired(now, 1000)).toBe(0);
    expect(await servers[1].take(alive.state, alive.browser, direct)).toBeDefined();
  });
});
