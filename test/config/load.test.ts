import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type LoadOptions, loadConfig } from '../../src/config/config.ts';
import { describeConfig } from '../../src/config/describe.ts';
import { problemsOf } from './problems.ts';

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'signet-config-'));
});
afterEach(() => rmSync(cwd, { recursive: true }));

const write = (name: string, content: string) => writeFileSync(join(cwd, name), content);
const load = (options: LoadOptions = {}) => loadConfig({ cwd, env: {}, ...options });
const problems = (options: LoadOptions = {}) => problemsOf({ cwd, env: {}, ...options });

describe('with nothing configured', () => {
  test('the server runs on localhost, with its files below the working directory', () => {
    const config = load();
    expect(config.issuer).toBe('http://localhost:3000');
    expect(config.listen).toMatchObject({ host: '127.0.0.1', port: 3000, drainDelay: 0 });
    expect(config.database.url).toBe(`sqlite:${join(cwd, 'data/signet.db')}`);
    expect(config.keys.masterKeyFile).toBe(join(cwd, 'keys/master.key'));
    expect(config.tokens.accessTokenLife).toBe(30 * 60);
    expect(config.applications).toEqual([]);
  });

  test('the default issuer follows the port', () => {
    expect(load({ env: { SIGNET_LISTEN_PORT: '8080' } }).issuer).toBe('http://localhost:8080');
  });

  test('port 0 needs an issuer, since nobody could know the URL', () => {
    expect(problems({ values: { listen: { port: 0 } } })).toEqual([expect.stringMatching(/^issuer: is missing/)]);
  });
});

describe('signet.yaml', () => {
  test('sets values; relative file names start at its directory', () => {
    mkdirSync(join(cwd, 'etc'));
    const lines = ['issuer: https://id.example.com', 'database: { url: sqlite:a.db }', 'keys: { rotateEvery: 30d }'];
    write('etc/signet.yaml', lines.join('\n'));
    const config = load({ file: 'etc/signet.yaml' });
    expect(config.listen.host).toBe('0.0.0.0');
    expect(config.database.url).toBe(`sqlite:${join(cwd, 'etc/a.db')}`);
    expect(config.keys.rotateEvery).toBe(30 * 86_400);
    expect(config.keys.masterKeyFile).toBe(join(cwd, 'etc/keys/master.key'));
  });

  test('is found in the working directory, or where SIGNET_CONFIG says; --config goes first', () => {
    write('signet.yaml', 'branding: { name: here }');
    write('variable.yaml', 'branding: { name: variable }');
    write('option.yaml', 'branding: { name: option }');
    const env = { SIGNET_CONFIG: 'variable.yaml' };
    expect(load().branding.name).toBe('here');
    expect(load({ env }).branding.name).toBe('variable');
    expect(load({ env, file: 'option.yaml' }).branding.name).toBe('option');
  });

  test('that was named must exist', () => {
    expect(problems({ file: 'gone.yaml' })).toEqual([expect.stringMatching(/^gone\.yaml: cannot be read \(ENOENT\)/)]);
    expect(problems({ env: { SIGNET_CONFIG: 'gone.yaml' } })).toHaveLength(1);
  });

  test('may be empty, and so may a section', () => {
    write('signet.yaml', '# nothing yet\n');
    expect(load().branding.name).toBe('Signet');
    write('signet.yaml', 'keys:\n  # rotateEvery: 30d\napplications:\n');
    expect(load().keys.rotateEvery).toBe(90 * 86_400);
  });

  test.each([
    ['a tab', 'issuer: https://id.example.com\nkeys:\n\trotateEvery: 30d', /^signet\.yaml:3:1: .*tab/],
    ['an open quote', 'issuer: "https://id.example.com', /^signet\.yaml:1:\d+: lacks a character/],
    ['a name twice', 'listen: { port: 1 }\nlisten: { port: 2 }', /^signet\.yaml:2:1: has the same name twice/],
    ['a list at the top', '- issuer', /^signet\.yaml:1: must hold names and values/],
    ['a tag', 'keys:\n  masterKey: !abc', /^signet\.yaml:2:14: .*begins with !/],
    ['a set', 'branding: !!set { nmae, colour }', /^signet\.yaml:1:11: .*begins with !/],
    ['a map in order', '%YAML 1.1\n---\nlisten: !!omap [ prot: 1 ]', /^signet\.yaml:3:9: .*begins with !/],
    [
      'a name that nothing can have',
      'apis:\n  - scopes: { __proto__: x }',
      /^signet\.yaml:2:15: is a name that nothing can/,
    ],
    ['an alias', 'keys:\n  masterKey: *abc', /^signet\.yaml:2:14: begins with \*/],
  ])('that is not YAML as we read it (%s) is refused with line and column', (_what, content, message) => {
    write('signet.yaml', content);
    expect(problems()[0]).toMatch(message);
  });

  test.each([
    'keys: { masterKey: "hunter2',
    'keys:\n  masterKey: *hunter2',
    'keys:\n  masterKey: !hunter2',
    'hunter2',
    'keys:\n  masterKey: @hunter2',
    'keys:\n masterKey: a\n  b: hunter2: c',
    'keys:\n  masterKey: hunter2',
  ])('with a problem never gives away what is written there: %s', (content) => {
    write('signet.yaml', content);
    expect(problems().join()).not.toContain('hunter2');
  });

  const umlaut = 'branding: { name: Büro }\r\nlog:\r\n  level: warn\r\n';
  test.each([
    ['UTF-8 with a byte order mark', Buffer.from(`\ufeff${umlaut}`)],
    ['UTF-16 with a byte order mark, as PowerShell writes it', Buffer.from(`\ufeff${umlaut}`, 'utf16le')],
    ['UTF-16 without one', Buffer.from(umlaut, 'utf16le')],
    ['UTF-16 with the high byte first', Buffer.from(`\ufeff${umlaut}`, 'utf16le').swap16()],
  ])('may be %s (YAML 1.2.2 §5.2), with CR LF at the ends of lines', (_what, bytes) => {
    writeFileSync(join(cwd, 'signet.yaml'), bytes);
    const config = load();
    expect([config.branding.name, config.log.level]).toEqual(['Büro', 'warn']);
  });

  test('in another encoding is refused, rather than read with letters that nobody wrote', () => {
    writeFileSync(join(cwd, 'signet.yaml'), Buffer.from(umlaut, 'latin1'));
    expect(problems()).toEqual(['signet.yaml: is neither UTF-8 nor UTF-16: save it as UTF-8']);
  });

  test('problems carry the line', () => {
    write('signet.yaml', 'keys:\n  rotateEvery: 30d\n  modulusLength: 1024\n');
    expect(problems()).toEqual(['signet.yaml:3 keys.modulusLength: must be one of 2048, 3072, 4096']);
  });
});

describe('the environment', () => {
  test('goes before the file', () => {
    write('signet.yaml', 'branding: { name: file, color: "#112233" }');
    const { branding } = load({ env: { SIGNET_BRANDING_NAME: 'environment' } });
    expect(branding).toEqual({ name: 'environment', color: '#112233' });
  });

  test('holds numbers, durations and comma-separated lists', () => {
    const config = load({
      env: {
        SIGNET_LISTEN_PORT: '8080',
        SIGNET_KEYS_MODULUS_LENGTH: '3072',
        SIGNET_TOKENS_REFRESH_GRACE: '0',
        SIGNET_SESSION_LIFE: '12h',
        SIGNET_PROXY_TRUSTED: '10.0.0.0/8, ::1',
      },
    });
    expect(config.listen.port).toBe(8080);
    expect(config.keys.modulusLength).toBe(3072);
    expect(config.tokens.refreshGrace).toBe(0);
    expect(config.session.life).toBe(12 * 3600);
    expect(config.proxy.trusted).toEqual(['10.0.0.0/8', '::1']);
  });

  test('says how many workers there are, as a number or as auto', () => {
    const workers = (value: string) => load({ env: { SIGNET_WORKERS: value } }).workers;
    expect([load({}).workers, workers('1'), workers('12'), workers('auto')]).toEqual([1, 1, 12, 'auto']);
    for (const value of ['0', '65', '2.5', '-1', 'all', 'AUTO'])
      expect(() => workers(value), value).toThrow(/SIGNET_WORKERS workers: must be (auto, or|at (least|most)) /);
  });

  test('an empty variable is one that is not set', () => {
    expect(load({ env: { SIGNET_LISTEN_PORT: '' } }).listen.port).toBe(3000);
  });

  test('any value may come from a file, whose last line break is not part of it', () => {
    const url = 'postgres://signet:hunter2@db.example.com/signet';
    write('url', `${url}\n`);
    expect(load({ env: { SIGNET_DATABASE_URL_FILE: 'url' } }).database.url).toBe(url);
  });

  test('a setting that names a file is meant before the file of another setting', () => {
    const { keys } = load({ env: { SIGNET_KEYS_MASTER_KEY_FILE: 'my.key' } });
    expect(keys.masterKeyFile).toBe(join(cwd, 'my.key'));
    expect(keys.masterKey).toBeUndefined();
  });

  test('a value given both ways, or a file that is not there, is a problem', () => {
    const env = { SIGNET_ISSUER: 'https://id.example.com', SIGNET_ISSUER_FILE: 'x', SIGNET_LOG_LEVEL_FILE: 'gone' };
    expect(problems({ env })).toEqual([
      'SIGNET_ISSUER_FILE issuer: is set twice: keep either SIGNET_ISSUER or SIGNET_ISSUER_FILE',
      expect.stringMatching(/^SIGNET_LOG_LEVEL_FILE log\.level: names a file that cannot be read \(ENOENT\)/),
    ]);
  });

  test('an unknown variable is refused with the nearest known one', () => {
    const env = { SIGNET_ISUER: 'x', SIGNET_PORT: '80', SIGNET_DATABSE_URL_FILE: 'x', SIGNET_APPLICATIONS: 'x' };
    expect(problems({ env })).toEqual([
      'SIGNET_ISUER: is not a setting; did you mean SIGNET_ISSUER?',
      'SIGNET_PORT: is not a setting; did you mean SIGNET_LISTEN_PORT?',
      'SIGNET_DATABSE_URL_FILE: is not a setting; did you mean SIGNET_DATABASE_URL_FILE?',
      'SIGNET_APPLICATIONS: is not read: applications and apis are declared in signet.yaml alone; remove it',
    ]);
  });

  test('what Kubernetes sets for a Service called signet is left alone, and so are variables of the tests', () => {
    expect(
      load({
        env: {
          SIGNET_PORT: 'tcp://10.0.0.1:3000',
          SIGNET_SERVICE_HOST: '10.0.0.1',
          SIGNET_SERVICE_PORT_HTTP: '3000',
          SIGNET_PORT_3000_TCP_ADDR: '10.0.0.1',
          SIGNET_TEST_POSTGRES: 'x',
        },
      }).listen.port,
    ).toBe(3000);
  });
});

describe('files that the configuration names', () => {
  const service = { clientId: 'billing', name: 'Billing', type: 'service' };

  test('a client secret from a file is kept as its hash, and nothing else of it', () => {
    const secret = 's'.repeat(43);
    write('secret', `${secret}\n`);
    const [app] = load({ values: { applications: [{ ...service, secretFile: 'secret' }] } }).applications;
    expect(app).toMatchObject({ secretHash: createHash('sha256').update(secret).digest('hex') });
    expect(Object.keys(app ?? {}).filter((name) => /secret/i.test(name))).toEqual(['secretHash']);
  });

  test.each([
    ['a byte order mark before it', Buffer.from(`\ufeff${'s'.repeat(43)}\r\n`)],
    ['UTF-16, as PowerShell writes it', Buffer.from(`\ufeff${'s'.repeat(43)}\r\n`, 'utf16le')],
  ])('a secret in a file with %s is what the editor shows', (_what, bytes) => {
    writeFileSync(join(cwd, 'secret'), bytes);
    const [app] = load({ values: { applications: [{ ...service, secretFile: 'secret' }] } }).applications;
    expect(app?.secretHash).toBe(createHash('sha256').update('s'.repeat(43)).digest('hex'));
    writeFileSync(join(cwd, 'secret'), Buffer.from(`ü${'s'.repeat(43)}`, 'latin1'));
    expect(problems({ values: { applications: [{ ...service, secretFile: 'secret' }] } })).toEqual([
      expect.stringMatching(/secretFile: names a file that is neither UTF-8 nor UTF-16/),
    ]);
  });

  test('a secret that is short, or not there, is a problem like any other', () => {
    write('secret', 'hunter2\n');
    const applications = [
      { ...service, secretFile: 'secret' },
      { ...service, clientId: 'b', secretFile: 'gone' },
    ];
    expect(problems({ values: { issuer: 'x', applications } })).toEqual([
      expect.stringMatching(/^issuer: /),
      expect.stringMatching(/^applications\[0\]\.secretFile: must have 32 characters or more/),
      expect.stringMatching(/^applications\[1\]\.secretFile: names a file that cannot be read \(ENOENT\)/),
    ]);
  });

  test('a logo is a PNG or SVG of at most 100 kB', () => {
    write('logo.svg', '<svg xmlns="http://www.w3.org/2000/svg"/>');
    expect(load({ env: { SIGNET_BRANDING_LOGO_FILE: 'logo.svg' } }).branding.logoFile).toBe(join(cwd, 'logo.svg'));
    write('logo.png', 'GIF89a');
    expect(problems({ env: { SIGNET_BRANDING_LOGO_FILE: 'logo.png' } })[0]).toMatch(/must be a PNG or SVG image/);
    write('large.svg', `<svg>${' '.repeat(100_000)}</svg>`);
    expect(problems({ env: { SIGNET_BRANDING_LOGO_FILE: 'large.svg' } })[0]).toMatch(/is 100011 bytes; at most 100000/);
  });
});

describe('what comes out', () => {
  test('is frozen to the last list', () => {
    const apis = [{ audience: 'urn:a', name: 'A', scopes: { a: 'A' } }];
    const config = load({ values: { proxy: { trusted: ['10.0.0.1'] }, apis } });
    expect(() => {
      config.listen.port = 1;
    }).toThrow(TypeError);
    expect(() => config.proxy.trusted.push('0.0.0.0')).toThrow(TypeError);
    expect(() => {
      config.apis[0]!.scopes['b'] = 'B';
    }).toThrow(TypeError);
  });

  test('can be described with where each value came from', () => {
    write('signet.yaml', 'issuer: https://id.example.com\ntokens:\n  idTokenLife: 10m\n');
    const described = describeConfig(load({ env: { SIGNET_LOG_LEVEL: 'warn' } }));
    const of = (path: string) => described.find((setting) => setting.path === path);
    expect(of('tokens.idTokenLife')).toEqual({ path: 'tokens.idTokenLife', value: 600, source: 'signet.yaml:3' });
    expect(of('log.level')).toEqual({ path: 'log.level', value: 'warn', source: 'SIGNET_LOG_LEVEL' });
    expect(of('session.life')).toEqual({ path: 'session.life', value: 14 * 86_400, source: 'default' });
  });

  test.each([
    ['postgres://signet:hunter2@db.example.com/signet', 'postgres://signet:…@db.example.com/signet'],
    ['postgres://signet:hun@ter2@db.example.com/signet', 'postgres://signet:…@db.example.com/signet'],
    ['postgres://db.example.com/signet?user=signet&password=hunter2', 'postgres://db.example.com/signet?…'],
  ])('shows the database %s without its password', (url, shown) => {
    const described = describeConfig(load({ values: { database: { url } } }));
    expect(described.find(({ path }) => path === 'database.url')?.value).toBe(shown);
  });

  test('shows neither the master key nor the secret of an application', () => {
    const masterKey = Buffer.alloc(32, 7).toString('base64');
    const secretSha256 = 'ab'.repeat(32);
    const described = JSON.stringify(
      describeConfig(
        load({
          values: { keys: { masterKey }, applications: [{ clientId: 'b', name: 'B', type: 'service', secretSha256 }] },
        }),
      ),
    );
    expect(described).not.toContain(masterKey);
    expect(described).not.toContain(secretSha256);
    expect(described).toContain('(set, not shown)');
  });
});
