import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/config.ts';
import { silentLog } from '../../src/log.ts';
import { openStore } from '../../src/store.ts';
import { openTerminal, type Terminal } from './terminal.ts';

let terminal: Terminal;
let preparedAt: number;

beforeAll(async () => {
  terminal = await openTerminal();
  await terminal.makeDatabase();
  const {
    document: { kid },
  } = await terminal.signet('keys prepare --json');
  await terminal.signet(['keys', 'activate', kid]);
  const {
    document: {
      keys: [key],
    },
  } = await terminal.signet('keys list --json');
  preparedAt = Date.parse(key.preparedAt);
});
afterAll(() => terminal.leave());

/** What the servers have counted: each service came two hours ago and now, and was given what was there at `newest`. */
async function fetched(services: readonly string[], newest: number): Promise<void> {
  const store = await openStore(loadConfig({ env: {}, cwd: terminal.directory }), silentLog);
  for (const service of [...services, ...services]) {
    const userAgent = `signet-verifier/0.1.0 (${service})`;
    store.jwksClients.seen({ userAgent, address: '192.0.2.1', newestPreparedAt: newest });
  }
  await store.jwksClients.list(); // writes them
  // In one moment, so that the order is that of their names; and hours after they first came.
  await store.db.query('update jwks_consumers set last_seen_at = (select max(last_seen_at) from jwks_consumers)');
  await store.db.query('update jwks_consumers set first_seen_at = last_seen_at - 7200000');
  await store.close();
}

describe('keys list says who has the newest key', () => {
  beforeEach(async () => {
    const store = await openStore(loadConfig({ env: {}, cwd: terminal.directory }), silentLog);
    await store.db.query('delete from jwks_consumers');
    await store.close();
  });

  /** What is said below the line of the next step. */
  const said = async () => {
    const { exitCode, out } = await terminal.signet('keys list');
    expect(exitCode).toBe(0);
    return /^Next: .*\n([\s\S]*)$/m.exec(out)![1];
  };

  test('nobody', async () => {
    expect(await said()).toBe('Nobody has fetched the newest key yet.\n');
  });

  test('everybody who comes, and only the first few by name', async () => {
    await fetched(['billing', 'orders'], preparedAt);
    expect(await said()).toBe('Who has the newest key: billing (192.0.2.1), orders (192.0.2.1).\n');
    await fetched(['stock', 'mail', 'search', 'reports', 'wiki'], preparedAt);
    expect(await said()).toMatch(/^Who has the newest key: (\w+ \(192\.0\.2\.1\)(, )?){5} and 2 more\.\n$/);
  });

  test('those who have it, and those who come regularly and have not', async () => {
    await fetched(['orders'], preparedAt);
    await fetched(['billing'], preparedAt - 1);
    expect(await said()).toBe(
      'Who has the newest key: orders (192.0.2.1).\n' +
        'Who has not: billing (192.0.2.1). See: signet keys consumers\n',
    );
    const { document } = await terminal.signet('keys list --json');
    expect(document.propagation).toMatchObject({ seenBy: ['orders (192.0.2.1)'], unseenBy: ['billing (192.0.2.1)'] });
  });
});

test('keys revoke names the verifiers that keep a known key for ever, and by when they drop this one', async () => {
  await terminal.signet('keys prepare');
  const {
    document: { keys },
  } = await terminal.signet('keys list --json');
  const active = keys.find(({ state }: { state: string }) => state === 'active').kid;
  const { out } = await terminal.signet(['keys', 'revoke', active, '--reason', 'stolen']);
  expect(out).toMatch(/go-oidc, zitadel\/oidc,\saws-jwt-verify, jwks-rsa of Java, Authlib’s client/);
  const [, at] = /by itself at (\S+Z)/.exec(out)!;
  expect(Date.parse(at!) - Date.now()).toBeGreaterThan(24.9 * 3_600_000);
  expect(out).toContain('Restart those services now.');
});
