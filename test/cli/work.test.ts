import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import bcrypt from 'bcrypt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/config.ts';
import { silentLog } from '../../src/log.ts';
import { openStore } from '../../src/store.ts';
import { engines, postgres } from '../support/engines.ts';
import { everyCommand, normalised, openTerminal, type Terminal } from './terminal.ts';

const ordersApi = 'https://orders.example.com';
const declared = `apis:
  - { audience: "${ordersApi}", name: Orders, scopes: { "orders:read": See, "orders:write": Place } }
applications:
  - { clientId: declared, name: Declared, type: spa, redirectUris: ["https://app.example.com/callback"] }
`;

async function terminalWithApis(): Promise<Terminal> {
  const terminal = await openTerminal();
  await terminal.write('signet.yaml', declared);
  await terminal.makeDatabase();
  return terminal;
}

let terminal: Terminal;
beforeAll(async () => {
  terminal = await terminalWithApis();
});
afterAll(() => terminal.leave());

async function auditOf(event: string): Promise<any[]> {
  return (await terminal.signet(`audit list --event ${event} --json`)).document.events;
}

describe('an administrator works without a server', () => {
  test('what is said is the transcript in work.golden.txt', async () => {
    const there = await terminalWithApis();
    let transcript = '';
    const type = async (words: string[], input?: string) => {
      const { exitCode, out, err } = await there.signet(words, { input });
      const typed = words.map((word) => (/[\s"]/.test(word) || word === '' ? `'${word}'` : word)).join(' ');
      const code = exitCode === 0 ? '' : `[exit code ${exitCode}]\n`;
      transcript += `$ signet ${typed}${input === undefined ? '' : ' < password'}\n${err}${out}${code}\n`;
    };
    await type(['accounts', 'list']);
    await type(['accounts', 'add', 'ada@example.com', '--name', 'Ada', '--role', 'admin', '--role', 'buyer']);
    await type(['accounts', 'add', 'bob@example.com', '--password-stdin'], 'a long enough password\n');
    await type(['accounts', 'add', 'ADA@example.com']);
    await type(['accounts', 'add', 'eve@example.com', '--password-stdin'], 'short\n');
    await type(['accounts', 'roles', 'bob@example.com', '--set', 'buyer, auditor']);
    await type(['accounts', 'disable', 'bob@example.com']);
    await type(['accounts', 'sign-out', 'ada@example.com']);
    await type(['grants', 'list', 'ada@example.com']);
    await type(['grants', 'revoke', 'no-such-grant']);
    await type(['accounts', 'disable', 'nobody@example.com']);
    await type(['accounts', 'list']);
    await type([
      'clients',
      'add',
      '--name',
      'Shop',
      '--id',
      'shop',
      '--type',
      'spa',
      '--first-party',
      '--redirect-uri',
      'https://shop.example.com/callback',
      '--origin',
      'https://shop.example.com',
      '--access',
      `${ordersApi}=orders:read`,
    ]);
    await type([
      'clients',
      'add',
      '--name',
      'Nightly job',
      '--id',
      'job',
      '--type',
      'service',
      '--access',
      `${ordersApi}=orders:read`,
    ]);
    await type([
      'clients',
      'add',
      '--name',
      'Wrong',
      '--type',
      'native',
      '--pkce',
      'optional',
      '--redirect-uri',
      'http://*.example.com/',
      '--origin',
      'https://a.example.com/',
      '--backchannel-logout-uri',
      'http://a.example.com/logout',
      '--access',
      `${ordersApi}=orders:burn`,
      '--access',
      'https://stock.example.com=stock:read',
    ]);
    await type(['clients', 'secret', 'shop']);
    await type(['clients', 'disable', 'job']);
    await type(['clients', 'disable', 'declared']);
    await type(['clients', 'list']);
    await type(['keys', 'list']);
    await type(['keys', 'prepare']);
    await type(['keys', 'list']);
    await type(['keys', 'rotate']);
    await type(['keys', 'rotate']);
    await type(['keys', 'rotate', '--force', '--reason', 'a drill']);
    await type(['keys', 'rotate', '--dry-run']);
    await type(['keys', 'consumers']);
    await type(['keys', 'rekey']);
    await type(['keys', 'list']);
    await type(['audit', 'list', '--limit', '3']);
    await type(['audit', 'verify']);
    await there.leave();
    const golden = fileURLToPath(new URL('work.golden.txt', import.meta.url));
    await expect(normalised(transcript, there)).toMatchFileSnapshot(golden);
  });

  test('every command answers --json with one document, and says nothing else', async () => {
    const there = await terminalWithApis();
    const json = async (words: string, input?: string) => {
      const said = await there.signet(`${words} --json`, { input });
      expect({ words, exitCode: said.exitCode, err: said.err }).toEqual({ words, exitCode: 0, err: '' });
      asked.push(words);
      return said.document;
    };
    const asked: string[] = [];
    const { account, oneTimePassword } = await json('accounts add ada@example.com --role admin');
    expect(oneTimePassword).toMatch(/^\w{4}(-\w{4}){4}$/);
    expect(account).toMatchObject({ email: 'ada@example.com', roles: ['admin'], state: 'one-time password' });
    expect(await json('accounts list')).toEqual({ accounts: [account] });
    await there.signet('accounts add grace@example.com --role admin');
    expect((await json(`accounts disable ${account.id}`)).account.state).toBe('disabled');
    expect((await json('accounts enable ada@example.com')).account.state).toBe('one-time password');
    const renewed = await json('accounts password ada@example.com --password-stdin', 'a long enough password');
    expect(renewed.account.state).toBe('active');
    expect((await json('accounts roles ada@example.com --set buyer')).account.roles).toEqual(['buyer']);
    expect(account.emailVerified).toBe(true);
    expect((await json('accounts verify-email ada@example.com --undo')).account.emailVerified).toBe(false);
    expect(
      (await json('accounts names ada@example.com --given-name Ada --family-name Lovelace')).account,
    ).toMatchObject({ name: 'Ada Lovelace', givenName: 'Ada', familyName: 'Lovelace' });
    expect(await json('accounts sign-out ada@example.com')).toMatchObject({
      account: { state: 'active' },
      grantsEnded: 0,
    });
    expect(await json('grants list ada@example.com')).toEqual({ accountId: account.id, grants: [] });

    const { application, secret } = await json('clients add --name Job --id job --type service');
    expect(application).toMatchObject({
      clientId: 'job',
      type: 'service',
      refreshTokens: false,
      declared: false,
      hasSecret: true,
    });
    expect(secret).toMatch(/^[\w-]{43}$/);
    expect((await json('clients secret job')).secret).not.toBe(secret);
    expect(await json('clients disable job')).toEqual({ clientId: 'job', disabled: true });
    expect(await json('clients enable job')).toEqual({ clientId: 'job', disabled: false });
    expect((await json('clients list')).applications.map(({ clientId }: any) => clientId)).toEqual(['declared', 'job']);

    expect(await json('keys list')).toMatchObject({ keys: [], next: { step: 'bootstrap' } });
    const { kid: first } = await json('keys prepare');
    expect(await json(`keys activate ${first}`)).toEqual({ kid: first, state: 'active' });
    expect(await json('keys rotate --dry-run')).toMatchObject({
      timeline: [{ event: 'published', kid: null }, {}, {}, {}, {}],
      unseenBy: [],
    });
    const { kid: second } = await json('keys rotate');
    expect(await json('keys consumers')).toMatchObject({ key: { kid: second }, seenBy: [], unseenBy: [], silent: [] });
    expect((await there.signet(`keys activate ${second} --json`)).document.error).toMatchObject({
      code: 'key_step_unsafe',
      wouldBreak: { until: expect.any(String), verifiers: expect.any(Array), consumers: [] },
    });
    expect(
      (await there.signet(['keys', 'retire', first, '--force', '--reason', 'a drill', '--json'])).document,
    ).toEqual({ kid: first, state: 'retired', activeKid: second, alsoRevokedKid: null });
    expect(
      (await there.signet(['keys', 'destroy', first, '--force', '--reason', 'a drill', '--json'])).document,
    ).toEqual({ kid: first, state: 'destroyed' });
    asked.push('keys retire', 'keys destroy');
    expect(await json(`keys revoke ${second} --reason stolen --cut-sessions`)).toMatchObject({
      kid: second,
      state: 'revoked',
      activeKid: expect.any(String),
      sessionsCut: 0,
    });
    expect(await json('keys rekey')).toEqual({ rekeyed: 0 });
    const { keys } = await json('keys list');
    expect(keys.map(({ state }: any) => state).sort()).toEqual(['active', 'destroyed', 'revoked']);

    expect((await json('audit list --limit 1')).events).toHaveLength(1);
    expect(await there.signet('keys consumers --forget nobody --json')).toMatchObject({
      exitCode: 3,
      document: { error: { code: 'jwks_client_unknown', hint: expect.stringContaining('keys consumers') } },
    });
    expect((await json('audit events')).events).toHaveProperty(['key.activated']);
    expect(await json('audit verify')).toMatchObject({ ok: true });
    expect((await json('config check')).settings.length).toBeGreaterThan(20);
    await there.leave();

    // serve, verify and a grant want a server: server.test.ts. Roles and Microsoft: entra.test.ts.
    const left = (await everyCommand(there)).filter((command) => !asked.some((words) => words.startsWith(command)));
    expect(left.sort()).toEqual([
      'entra check',
      'entra refresh-keys',
      'grants revoke',
      'roles dry-run',
      'roles explain',
      'serve',
      'verify',
    ]);
  });

  test('what is not there is exit code 3', async () => {
    for (const words of [
      'accounts disable nobody@example.com',
      'accounts password no-such-id',
      'clients secret nothing',
      'clients enable nothing',
      'keys activate nothing',
      'keys destroy nothing',
      'keys revoke nothing --reason x',
    ]) {
      expect({ words, exitCode: (await terminal.signet(words)).exitCode }).toEqual({ words, exitCode: 3 });
    }
  });

  test('a key id may begin with a dash', async () => {
    const { exitCode, err } = await terminal.signet(['keys', 'revoke', `-${'x'.repeat(42)}`, '--reason', 'stolen']);
    expect(err).toContain(`there is no key -${'x'.repeat(42)}`);
    expect(exitCode).toBe(3);
  });

  test('the audit trail names the person at the keyboard', async () => {
    const { document } = await terminal.signet('accounts add grace@example.com --json');
    const { id } = document.account;
    await terminal.signet('accounts roles grace@example.com --set admin');
    expect(await auditOf('account.created')).toMatchObject([{ actor: 'cli:tester', subject: id }]);
    expect(await auditOf('account.roles_set')).toMatchObject([
      { actor: 'cli:tester', subject: id, detail: { roles: ['admin'] } },
    ]);
  });

  test('a forced step keeps its reason in the audit trail', async () => {
    await terminal.signet(['keys', 'rotate', '--force', '--reason', 'first key']);
    await terminal.signet(['keys', 'rotate', '--force', '--reason', 'a drill']);
    expect((await auditOf('key.retired'))[0]).toMatchObject({ actor: 'cli:tester', detail: { forced: 'a drill' } });
  });

  test('a row changed in the database is found by audit verify, exit code 1', async () => {
    const there = await openTerminal();
    await there.makeDatabase();
    await there.signet('accounts add ada@example.com --role buyer');
    await there.signet('accounts roles ada@example.com --set auditor');
    await there.signet('accounts disable ada@example.com');
    const { DatabaseSync } = await import('node:sqlite');
    const database = new DatabaseSync(`${there.directory}/data/signet.db`);
    database.exec(`update audit_events set detail = '{"roles":["admin"]}' where event = 'account.roles_set'`);
    database.close();
    const { exitCode, err } = await there.signet('audit verify');
    expect(err).toContain('error: the chain is broken: row 2 was changed\nhint: ');
    expect(exitCode).toBe(1);
    const { out } = await there.signet('audit list');
    expect(out.split('\n').filter((line) => /^2 /.test(line))).toEqual([expect.stringContaining('account.roles_set')]);
    await there.leave();
  });
});

describe('where no server has been', () => {
  test('a command makes neither a database nor a master key, and says where to look', async () => {
    const there = await openTerminal();
    for (const words of ['keys list', 'accounts add ada@example.com', 'audit verify']) {
      const { exitCode, err } = await there.signet(words);
      expect(err).toMatch(/^error: there is no database file .*signet\.db\nhint: .*--config/);
      expect(exitCode).toBe(1);
    }
    expect(await readdir(there.directory)).toEqual([]);
    await there.leave();
  });

  test.skipIf(!engines.includes(postgres))('also where there is an empty database', async () => {
    const url = await postgres.freshUrl();
    const there = await openTerminal({ env: { SIGNET_DATABASE_URL: url } });
    const { exitCode, err } = await there.signet('keys list');
    expect(err).toMatch(/^error: the database is empty: no server has used it\nhint: /);
    expect(exitCode).toBe(1);
    expect(await readdir(there.directory)).toEqual([]);
    await there.leave();
  });
});

describe('who looks something up in the audit trail', () => {
  const list = (...words: string[]) => terminal.signet(['audit', 'list', ...words]);

  test('may name a person by the e-mail address, and an application as it is listed', async () => {
    const {
      document: { account },
    } = await terminal.signet('accounts add noor@example.com --json');
    await terminal.signet('clients add --name Looked --id looked --type service');
    const about = async (who: string) =>
      (await terminal.signet(['audit', 'list', '--subject', who, '--json'])).document.events;
    expect(await about('NOOR@example.com')).toMatchObject([{ event: 'account.created', subject: account.id }]);
    expect(await about(account.id)).toHaveLength(1);
    expect(await about('looked')).toMatchObject([{ event: 'application.registered', clientId: 'looked' }]);
  });

  test.each([
    [3, 'there is no account nobody@example.com', '--subject', 'nobody@example.com'],
    [3, 'there is no account, key or application loked', '--subject', 'loked'],
    [2, 'Of signin there are signin.forged, signin.refused, signin.succeeded', '--event', 'signin.failed'],
    [2, 'Did you mean key.activated?', '--event', 'key.actived'],
    [2, 'All: signet audit events', '--event', 'nonsense'],
    [2, '16 hexadecimal digits', '--request', 'req-1'],
  ])('is told (exit code %i) that %s', async (code, why, ...words) => {
    const { exitCode, err } = await list(...words);
    expect([exitCode, err]).toEqual([code, expect.stringContaining(why)]);
  });

  test('and finds nothing of a reference, is told where else to look', async () => {
    expect((await list('--request', '0123456789abcdef')).out).toContain('The log of the server has a line');
  });
});

describe('secrets', () => {
  test('a password comes from standard input or is made here; the database has its hash alone', async () => {
    const made = (await terminal.signet('accounts add kay@example.com --json')).document.oneTimePassword;
    const { out } = await terminal.signet('accounts add lin@example.com --password-stdin', {
      input: 'correct horse battery\r\n',
    });
    expect(out).not.toContain('correct horse');
    const stored = await terminal.stored();
    expect(stored).not.toContain(made);
    expect(stored).not.toContain('correct horse');
    const hashes = stored.match(/\$2b\$04\$[./A-Za-z0-9]{53}/g)!;
    // The line break at the end is the terminal's, not the person's.
    expect(hashes.some((hash) => bcrypt.compareSync('correct horse battery', hash))).toBe(true);
    expect(hashes.some((hash) => bcrypt.compareSync(made, hash))).toBe(true);
  });

  test('a password that guessers try first is refused, for a new account and for one that is there', async () => {
    await terminal.signet(['accounts', 'add', 'mira@example.com', '--name', 'Mira Lindqvist']);
    const set = (input: string, words = 'accounts password mira@example.com') =>
      terminal.signet(`${words} --password-stdin`, { input });
    for (const [input, why] of [
      ['password1234', 'guessers try first'],
      ['mira@example.com', 'made of your name'],
      ['Lindqvist2026', 'made of your name'],
      ['aaaaaaaaaaaa', 'repeats itself'],
      ['a'.repeat(73), 'at most 72 bytes'],
    ] as const) {
      for (const words of ['accounts password mira@example.com', 'accounts add mira@example.net --name Lindqvist']) {
        const { exitCode, err } = await set(input, words);
        expect([input, exitCode, err]).toEqual([input, 2, expect.stringContaining(why)]);
      }
    }
    expect((await set('violet harbour lantern')).exitCode).toBe(0);
    expect((await set('Violet harbour lantern')).err).toContain('This is the password of before');
    expect((await terminal.signet('accounts list --json')).out).not.toContain('@example.net');
  });

  test('a list that was cut says so, but to whoever said where', async () => {
    const store = await openStore(loadConfig({ env: {}, cwd: terminal.directory }), silentLog);
    for (let at = 0; at < 51; at += 1) store.audit.record({ event: 'signin.succeeded', subject: `person ${at}` });
    await store.close();
    expect((await terminal.signet('audit list --event signin.succeeded')).err).toBe(
      'note: there are older events; these are the newest 50 (--limit, --since)\n',
    );
    expect((await terminal.signet('audit list --event signin.succeeded --limit 50')).err).toBe('');
  });

  test('a client secret is printed once; the database has its SHA-256 alone', async () => {
    const {
      document: { secret },
    } = await terminal.signet('clients add --name Batch --id batch --type service --json');
    const stored = await terminal.stored();
    expect(stored).not.toContain(secret);
    expect(stored).toContain(createHash('sha256').update(secret).digest('hex'));
    const list = await terminal.signet('clients list --json');
    expect(list.out).not.toContain(secret);
    expect(list.out).not.toMatch(/[\da-f]{64}/);
  });

  test('no hash of a password is shown', async () => {
    const { out } = await terminal.signet('accounts list --json');
    expect(out).toContain('kay@example.com');
    expect(out).not.toContain('$2b$');
  });
});

describe('a name was chosen to confuse a terminal', () => {
  test('its control characters are not sent there', async () => {
    const refused = await terminal.signet(['accounts', 'add', 'mallory@example.com', '--name', 'M\u001b[2Jallory']);
    expect(refused).toMatchObject({ exitCode: 2, err: expect.stringContaining('a name is one line') });
    await terminal.signet(['accounts', 'add', 'mallory@example.com', '--name', 'Mallory']);
    const { DatabaseSync } = await import('node:sqlite');
    const database = new DatabaseSync(`${terminal.directory}/data/signet.db`);
    database.exec("update accounts set name = 'M' || char(27) || '[2Jallory' where name = 'Mallory'");
    database.close();
    const { out } = await terminal.signet('accounts list');
    expect(out).toContain('M?[2Jallory');
    expect(out).not.toContain('\u001b');
  });
});
