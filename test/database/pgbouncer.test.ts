// Behind a real PgBouncer, in both of its modes: a session of PostgreSQL is not ours for longer than a transaction.

import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { migrate } from '../../src/database/migrate.ts';
import { openDatabase } from '../../src/database/open.ts';
import { engines, postgres } from '../support/engines.ts';
import { through } from '../support/forwarder.ts';
import { noPgBouncer, type PgBouncerSettings, startPgBouncer } from '../support/pgbouncer.ts';
import { startSignet } from '../support/signet.ts';
import { signIn, tokenRequest } from '../support/user-agent.ts';

async function start(settings: PgBouncerSettings) {
  const url = await postgres.freshUrl();
  const pooler = await startPgBouncer(Number(new URL(url).port), settings);
  onTestFinished(() => pooler.stop());
  return { direct: url, url: through(pooler, url) };
}

describe.runIf(engines.includes(postgres) && !noPgBouncer).each(['transaction', 'session'] as const)(
  'PgBouncer in %s mode',
  (mode) => {
    test('is before a server that signs people in, refreshes and revokes as ever, many at a time', async () => {
      // Session mode lends a session for as long as a connection is open: to all of a server, and to the listener.
      const { url } = await start({ pool_mode: mode, default_pool_size: mode === 'session' ? 40 : 3 });
      const server = await startSignet({ database: url });
      onTestFinished(() => server.close());
      const signedIn = await Promise.all(Array.from({ length: 6 }, () => signIn(server.issuer)));
      for (let round = 0; round < 3; round += 1) {
        const answers = await Promise.all(
          signedIn.map(({ tokens }) =>
            tokenRequest(server.issuer, { grant_type: 'refresh_token', refresh_token: String(tokens.refresh_token) }),
          ),
        );
        expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
        answers.forEach(({ body }, at) => {
          signedIn[at]!.tokens.refresh_token = body.refresh_token;
        });
      }
      const ready = await fetch(`${server.url}/health/ready`);
      expect([ready.status, await ready.json()]).toMatchObject([200, { database: 'ok' }]);
      expect(server.logged()).not.toMatch(/"level":"(error|warn)"/);
    });

    test('hides no announcement: what one process changed, another hears of within seconds', async () => {
      const { direct, url } = await start({ pool_mode: mode, default_pool_size: 10 });
      const [here, there] = [await openDatabase(url), await openDatabase(direct)];
      onTestFinished(async () => {
        await Promise.all([here.close(), there.close()]);
      });
      await migrate(there);
      const heard: string[] = [];
      await here.listen('keys', () => heard.push('here'));
      await there.listen('keys', () => heard.push('there'));
      await there.announce('keys');
      await vi.waitFor(() => expect(heard.sort()).toEqual(['here', 'there']), { timeout: 10_000 });
      await here.announce('keys');
      await vi.waitFor(() => expect(heard).toHaveLength(4), { timeout: 10_000 });
      await here.announce('other');
      await vi.waitFor(async () => expect((await here.query('select 1 as one')).rowCount).toBe(1));
      expect(heard).toHaveLength(4);
    });
  },
);

describe.runIf(engines.includes(postgres) && !noPgBouncer)('PgBouncer that has no room', () => {
  test('is told as what it is', async () => {
    const { url } = await start({ pool_mode: 'transaction', max_client_conn: 1 });
    const first = await openDatabase(`${url}?pool_max_conns=1`);
    onTestFinished(() => first.close());
    await expect(openDatabase(url)).rejects.toMatchObject({
      code: 'database_unavailable',
      hint: expect.stringContaining('max_client_conn'),
    });
  });
});
