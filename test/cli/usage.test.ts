import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { everyCommand, normalised, openTerminal, type Terminal } from './terminal.ts';

const golden = (name: string) => fileURLToPath(new URL(name, import.meta.url));

let terminal: Terminal;
beforeAll(async () => {
  terminal = await openTerminal();
});
afterAll(() => terminal.leave());

describe('somebody asks for help', () => {
  test('the help of every command is the one in help.golden.txt', async () => {
    const families = ['', 'config', 'accounts', 'clients', 'keys', 'roles', 'entra', 'audit'];
    const commands = [...families, ...(await everyCommand(terminal))];
    const pages = await Promise.all(commands.map(async (command) => (await terminal.signet(`${command} --help`)).out));
    await expect(pages.join(`\n${'-'.repeat(100)}\n\n`)).toMatchFileSnapshot(golden('help.golden.txt'));
  });

  test('help and version are answers: standard output, exit code 0', async () => {
    const { version } = JSON.parse(await readFile(golden('../../package.json'), 'utf8'));
    expect(await terminal.signet('--version')).toMatchObject({ exitCode: 0, out: `${version}\n`, err: '' });
    expect(await terminal.signet('keys --help')).toMatchObject({ exitCode: 0, err: '' });
    expect((await terminal.signet('--version --json')).document).toEqual({ version });
    expect((await terminal.signet('--help --json')).document.help).toContain('Usage: signet');
  });

  test('docs/cli.md describes every command', async () => {
    const page = await readFile(golden('../../docs/cli.md'), 'utf8');
    for (const command of await everyCommand(terminal)) expect(page).toContain(`signet ${command}`);
  });

  test('help touches nothing: no database, no master key', async () => {
    expect(await readdir(terminal.directory)).toEqual([]);
  });
});

describe('somebody mistypes', () => {
  beforeAll(() => terminal.makeDatabase());

  test.each([
    ['acounts', "unknown command 'acounts'", 'did you mean accounts?'],
    ['accounts lst', "unknown command 'lst'", 'did you mean list?'],
    ['keys list --jsn', "unknown option '--jsn'", 'did you mean --json?'],
    ['clients add --name x --type spa --orign y', "unknown option '--orign'", 'did you mean --origin?'],
    ['accounts add', "missing required argument 'email'", 'run: signet accounts add --help'],
    ['accounts list more', 'too many arguments', 'run: signet accounts list --help'],
    ['clients add --name x --type wbe', "argument 'wbe' is invalid", 'run: signet clients add --help'],
    ['keys revoke some-kid', "required option '--reason <text>' not specified", 'run: signet keys revoke --help'],
    ['keys rotate --force', '--force and --reason go together', 'say why'],
    ['keys activate kid --reason because', '--force and --reason go together', 'say why'],
    ['audit list --since yesterday', "argument 'yesterday' is invalid", 'run: signet audit list --help'],
    ['audit list --since 2999-01-01', 'This is in the future', 'run: signet audit list --help'],
    ['entra refresh-keys', 'there is no entra section', 'see docs/entra.md'],
    ['audit list --limit 0', "argument '0' is invalid", 'run: signet audit list --help'],
    ['accounts list --config', "option '--config <file>' argument missing", 'run: signet accounts list --help'],
    ['verify t --issuer http://id.example.com', 'issuer must be https', 'run: signet verify --help'],
    ['accounts add not-an-address', 'is not an e-mail address', 'run: signet accounts add --help'],
    ['accounts add ada@example.com --role a,b', 'is not a role', 'run: signet accounts add --help'],
  ])('signet %s: error, hint, exit code 2', async (words, error, hint) => {
    const { exitCode, out, err } = await terminal.signet(words);
    expect(err).toMatch(/^error: .+\nhint: .+\n$/s);
    expect(err).toContain(error);
    expect(err).toContain(hint);
    expect({ exitCode, out }).toEqual({ exitCode: 2, out: '' });
  });

  test.each(['', 'accounts'])('signet %s alone shows the help, on standard error', async (words) => {
    const { exitCode, out, err } = await terminal.signet(words);
    expect(err).toContain('Commands:');
    expect({ exitCode, out }).toEqual({ exitCode: 2, out: '' });
  });

  test('with --json the error is the one document on standard output', async () => {
    expect(await terminal.signet('accounts --json')).toMatchObject({
      exitCode: 2,
      err: '',
      document: {
        error: { code: 'usage', message: 'signet accounts needs a command', hint: 'run: signet accounts --help' },
      },
    });
    expect(await terminal.signet('acounts --json')).toMatchObject({
      exitCode: 2,
      err: '',
      document: { error: { code: 'usage' } },
    });
  });
});

describe('the configuration has problems', () => {
  test('config check lists all of them at once, with their places', async () => {
    await terminal.write('wrong.yaml', 'isuer: https://id.example.com\nlisten: { port: x }\n');
    const { exitCode, out, err } = await terminal.signet('config check --config wrong.yaml');
    expect(err).toBe(
      'error: the configuration has 2 problems:\n  wrong.yaml:2 listen.port: must be a number\n' +
        '  wrong.yaml:1 isuer: is not a setting; did you mean issuer?\n' +
        'hint: correct what is listed, then run: signet config check\n',
    );
    expect({ exitCode, out }).toEqual({ exitCode: 2, out: '' });
  });

  test('every command refuses to work with it, and --json has the problems one by one', async () => {
    const { exitCode, document } = await terminal.signet('accounts list --config nowhere.yaml --json');
    expect(exitCode).toBe(2);
    expect(document.error).toMatchObject({ code: 'config_invalid', problems: [{ source: 'nowhere.yaml', path: '' }] });
    expect(document.error.problems[0].message).toContain('ENOENT');
  });

  test('an unknown variable is refused with the nearest known one', async () => {
    const { exitCode, err } = await terminal.signet('keys list', { env: { SIGNET_KEYS_POLL_EVRY: '3' } });
    expect(err).toContain('SIGNET_KEYS_POLL_EVRY: is not a setting; did you mean SIGNET_KEYS_POLL_EVERY?');
    expect(exitCode).toBe(2);
  });
});

describe('the configuration is sound', () => {
  test('config check prints every setting with value and source, and no secret', async () => {
    await terminal.write(
      'signet.yaml',
      `issuer: https://id.example.com
database: { url: "postgres://signet:hunter2@db.example.com/signet" }
keys: { rotateEvery: 30d }
apis: [{ audience: "https://orders.example.com", name: Orders, scopes: { "orders:read": See your orders } }]
applications:
  - { clientId: job, name: Job, type: service, secret: correct-horse-battery-staple-0123456789,
      access: { "https://orders.example.com": ["orders:read"] } }
`,
    );
    const { exitCode, out } = await terminal.signet('config check', { env: { SIGNET_PASSWORDS_BCRYPT_COST: '11' } });
    expect(exitCode).toBe(0);
    expect(out).not.toMatch(/hunter2|correct-horse/);
    await expect(normalised(out, terminal)).toMatchFileSnapshot(golden('config-check.golden.txt'));
    const { document } = await terminal.signet('config check --json', { env: { SIGNET_PASSWORDS_BCRYPT_COST: '11' } });
    expect(document.settings).toContainEqual({ path: 'keys.rotateEvery', value: 30 * 86_400, source: 'signet.yaml:3' });
  });
});

describe('something fails that nobody expected', () => {
  test('the message is told, the stack is not', async () => {
    // The terminal has nothing on standard input, and says so by an error of its own.
    const { exitCode, err } = await terminal.signet('verify -');
    expect(err).toMatch(/^error: this command was not to read standard input\nhint: this was not expected; .+\n$/);
    expect(exitCode).toBe(1);
  });
});
