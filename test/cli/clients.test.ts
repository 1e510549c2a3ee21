import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTerminal, type Terminal } from './terminal.ts';

let terminal: Terminal;
beforeAll(async () => {
  terminal = await openTerminal();
  await terminal.write('signet.yaml', 'apis: [{ audience: rabbitmq, name: Queue, scopes: { "queue:read": Read } }]\n');
  await terminal.makeDatabase();
});
afterAll(() => terminal.leave());

const add = (...words: string[]) => terminal.signet(['clients', 'add', '--name', 'App', ...words]);
const spa = ['--type', 'spa', '--redirect-uri', 'https://app.example.com/callback'];

describe('signet clients add', () => {
  const texts = [
    '',
    ' ',
    '5',
    '-',
    'null',
    '[]',
    '{}',
    'a=b',
    '=',
    ',',
    '\u0000',
    '\ud800',
    '*',
    'http://[',
    'javascript:1',
    'x'.repeat(5_000),
    '__proto__',
    'a=__proto__',
    'rabbitmq=queue:read,',
    '%',
    'ünï',
    '\n',
  ];
  const options = [
    '--name',
    '--id',
    '--redirect-uri',
    '--post-logout-redirect-uri',
    '--backchannel-logout-uri',
    '--origin',
    '--access',
    '--default-audience',
    '--pkce',
    '--type',
  ];

  test('takes what is right, or says of which option what is wrong: never a crash', async () => {
    for (const option of options) {
      for (const [at, text] of texts.entries()) {
        const type = ['spa', 'web', 'native', 'service'][at % 4]!;
        const { exitCode, out, err } = await add(
          '--type',
          type,
          '--redirect-uri',
          'https://app.example.com/cb',
          option,
          text,
        );
        expect.soft(err, `${option} ${text}`).not.toMatch(/TypeError|undefined|not expected|\[object/);
        if (exitCode === 0) expect.soft(out).toContain('registered');
        else
          expect
            .soft({ exitCode, err })
            .toMatchObject({ exitCode: expect.toSatisfy((code) => code === 2 || code === 1) });
        if (exitCode === 2) expect.soft(err).toMatch(/^error: .+\nhint: .+\n$/s);
      }
    }
  });

  test('tells all that is wrong at once, by option', async () => {
    const { exitCode, err } = await add(
      '--type',
      'spa',
      '--id',
      'bü',
      '--redirect-uri',
      '/cb',
      '--redirect-uri',
      'vscode://x',
      '--origin',
      'null',
      '--access',
      'stock=a',
      '--allow-redirect-schemes-that-any-app-may-claim',
    );
    expect(exitCode).toBe(2);
    for (const line of [
      /--id: must be 1 to 255 printable ASCII/,
      /--redirect-uri \(number 1\): must be an absolute URI/,
      /--redirect-uri \(number 2\): must be https/,
      /--origin \(number 1\): must be an origin/,
      /--access stock: names an audience that no entry of apis declares/,
      /--allow-redirect-schemes-that-any-app-may-claim: is for type native only/,
    ])
      expect(err).toMatch(line);
  });

  test('warns of what is legal and likely to go wrong, and registers it', async () => {
    const { exitCode, out, err } = await add(
      '--type',
      'web',
      '--id',
      'a:b',
      '--redirect-uri',
      'https://App.example.com/cb',
    );
    expect(exitCode).toBe(0);
    expect(out).toContain('application App registered');
    expect(err).toMatch(/^warning: --redirect-uri \(number 1\): is compared as it is written/m);
    expect(err).toMatch(/^warning: --id: has characters/m);
    const { document } = await add(...spa, '--json', '--origin', 'https://App.example.com/');
    expect(document).toMatchObject({ warnings: [], application: { origins: ['https://app.example.com'] } });
  });

  test('warns of tokens that a browser renews without a pause', async () => {
    const { err } = await terminal.signet(['clients', 'add', '--name', 'App', ...spa], {
      env: { SIGNET_TOKENS_ACCESS_TOKEN_LIFE: '1m' },
    });
    expect(err).toMatch(/^warning: tokens\.accessTokenLife: is 1m: .* renew without a pause/m);
  });

  test('lets a native application have a scheme without a dot where that is said in so many words', async () => {
    const vscode = ['--type', 'native', '--redirect-uri', 'vscode://publisher.extension/callback'];
    expect((await add(...vscode)).err).toContain('allowRedirectSchemesThatAnyAppMayClaim');
    const { document } = await add(...vscode, '--allow-redirect-schemes-that-any-app-may-claim', '--json');
    expect(document.application.allowRedirectSchemesThatAnyAppMayClaim).toBe(true);
  });

  test('makes secrets that no library can send wrongly (RFC 3986 §2.3)', async () => {
    const secrets = await Promise.all(
      Array.from(
        { length: 20 },
        async () => (await add('--type', 'service', '--access', 'rabbitmq=queue:read', '--json')).document.secret,
      ),
    );
    const renewed = (await terminal.signet(['clients', 'list', '--json'])).document.applications
      .filter(({ hasSecret }: any) => hasSecret)
      .slice(0, 5);
    for (const { clientId } of renewed) {
      secrets.push((await terminal.signet(['clients', 'secret', '--json', '--', clientId])).document.secret);
    }
    for (const secret of secrets) expect(secret).toMatch(/^[A-Za-z0-9._~-]{43}$/);
  });
});

describe('an application of signet.yaml is stopped in an emergency', () => {
  test('that wins over the file; config check and clients list say so, and clients enable lifts it', async () => {
    const there = await openTerminal();
    await there.write(
      'signet.yaml',
      `applications:
  - { clientId: shop, name: Shop, type: spa, redirectUris: [https://shop.example.com/callback] }
`,
    );
    expect((await there.signet('config check')).out).not.toContain('warning');
    await there.makeDatabase();
    const { exitCode, out } = await there.signet('clients disable shop');
    expect(exitCode).toBe(0);
    expect(out).toContain('whatever signet.yaml says of it, until: signet clients enable shop');
    expect((await there.signet('clients list')).out).toMatch(/shop +Shop +spa +signet\.yaml +disabled since/);
    const checked = await there.signet('config check');
    expect(checked).toMatchObject({ exitCode: 0, err: '' });
    expect(checked.out).toMatch(
      /\nwarning: applications\[0\]: \(shop\) is disabled since \d{4}-.*, whatever stands here, until: signet clients enable/,
    );
    expect((await there.signet('config check --json')).document.warnings).toHaveLength(1);
    await there.signet('clients enable shop');
    expect((await there.signet('config check')).out).not.toContain('warning');
    expect((await there.signet('clients list')).out).toMatch(/shop .* active/);
    expect((await there.signet('clients disable nobody')).exitCode).toBe(3);
    await there.leave();
  });
});

describe('signet config check', () => {
  test('tells what is likely to go wrong after what is set, with its line and never the secret', async () => {
    const secret = 'a+b%c-0123456789-0123456789-0123456789';
    await terminal.write(
      'warned.yaml',
      `applications:
  - { clientId: job, name: Job, type: service,
      secret: ${secret} }
tokens:
  accessTokenLife: 1m
`,
    );
    const { exitCode, out, err } = await terminal.signet('config check --config warned.yaml');
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: '' });
    expect(out).toMatch(/\n\nwarning: warned\.yaml:3 applications\[0\]\.secret: has characters .*\n$/);
    expect(out).not.toContain(secret);
    const { document } = await terminal.signet('config check --config warned.yaml --json');
    expect(document.warnings).toMatchObject([{ source: 'warned.yaml:3', path: 'applications[0].secret' }]);
  });
});
