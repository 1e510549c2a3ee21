// One account signs in many times at the same moment, as end-to-end suites do, at one server or at two that share a
// database: an attempt that is being checked is no failure yet, wherever it is checked.

import bcrypt from 'bcrypt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { engines } from '../support/engines.ts';
import { freePort } from '../support/ports.ts';
import { startSignet, type TestServer } from '../support/signet.ts';
import { authorizationRequest, UserAgent } from '../support/user-agent.ts';

const [cost, password] = [10, 'another long password'];

describe.each(engines)('many sign in at the same moment, on $name', ({ freshUrl }) => {
  let servers: TestServer[];
  beforeAll(async () => {
    const database = await freshUrl();
    const start = async (directory?: string) =>
      startSignet({
        database,
        ...(directory !== undefined && { directory }),
        values: {
          issuer: 'https://id.example.com',
          listen: { port: await freePort(), host: '127.0.0.1' },
          proxy: { trusted: ['127.0.0.1'] },
          passwords: { bcryptCost: cost },
        },
      });
    const first = await start();
    servers = [first, await start(first.directory)];
  });
  afterAll(async () => {
    for (const server of servers.toReversed()) await server.close();
  });

  let people = 0;
  /** Whom nobody has asked for, and an address from which nobody has. */
  async function newPerson() {
    people += 1;
    const email = `at-once-${people}@example.com`;
    await servers[0]!.store.accounts.create(
      { email, roles: [], passwordHash: await bcrypt.hash(password, cost) },
      'test',
    );
    return { email, address: `192.0.2.${people}` };
  }

  /** Each in a browser of its own; the forms are sent when all have one. */
  async function together(
    count: number,
    at: readonly TestServer[],
    { email, address }: { email: string; address: string },
    typed: string,
  ): Promise<number[]> {
    const browsers = Array.from({ length: count }, (_, index) => {
      const server = at[index % at.length]!;
      return new UserAgent(server.issuer, server.url);
    });
    const { url } = authorizationRequest(servers[0]!.issuer);
    const pages = await Promise.all(browsers.map((browser) => browser.visit(url)));
    const headers = { 'X-Forwarded-For': address, 'X-Forwarded-Proto': 'https' };
    const answers = await Promise.all(
      browsers.map((browser, index) => browser.visit(pages[index]!.url, { form: { email, password: typed }, headers })),
    );
    return answers.map(({ status }) => status);
  }

  const where = { 'one server': (): TestServer[] => [servers[0]!], 'two servers': (): TestServer[] => servers };
  const cases = Object.entries(where).flatMap(([name, at]) =>
    [8, 20].flatMap((count) => [0, 4].map((failures) => [count, name, failures, at] as const)),
  );

  test.each(cases)(
    '%i with the right password, at %s, after %i failures: none is refused',
    async (count, _name, failures, at) => {
      const somebody = await newPerson();
      const mistakes = await together(failures, [servers[0]!], somebody, 'not the password');
      expect(mistakes).toEqual(Array(failures).fill(400));
      expect(await together(count, at(), somebody, password)).toEqual(Array(count).fill(303));
    },
    60_000,
  );

  test.each(Object.entries(where))(
    'of twenty guesses at %s five are looked at, and one more after each wait, as in a row',
    async (_name, at) => {
      const somebody = await newPerson();
      const before = performance.now();
      const statuses = await together(20, at(), somebody, 'not the password');
      const seconds = (performance.now() - before) / 1000;
      const looked = statuses.filter((status) => status === 400).length;
      expect(statuses.filter((status) => status === 429)).toHaveLength(20 - looked);
      expect(looked).toBeGreaterThanOrEqual(5);
      // After waits of 1, 2, 4 … seconds, which who waits for the outcome of others may see the end of.
      expect(looked).toBeLessThanOrEqual(5 + Math.floor(Math.log2(seconds + 1)));
    },
    60_000,
  );
});
