// What is printed and documented for a beginning is done as it stands, on a server that has never been used.

import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { run } from '../../src/cli/run.ts';
import { freePort } from '../support/ports.ts';
import { noteSecret } from '../support/secrets.ts';
import {
  askUserinfo,
  authorizationRequest,
  decode,
  redemption,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';
import { openTerminal, type Terminal } from './terminal.ts';

interface FirstStart {
  terminal: Terminal;
  issuer: string;
  printed: string;
  stop(): Promise<number>;
}

/** `signet serve` in an empty directory, but for `file`, until it has said all that it says. */
async function firstStart(file = ''): Promise<FirstStart> {
  const port = await freePort();
  const env = { SIGNET_LISTEN_PORT: String(port), SIGNET_PASSWORDS_BCRYPT_COST: '4' };
  const terminal = await openTerminal({ env });
  if (file) await terminal.write('signet.yaml', file);
  let printed = '';
  let stop = () => {};
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  const ended = run(['serve'], {
    out: (text) => {
      printed += text;
    },
    err: () => {},
    readInput: async () => '',
    userName: 'tester',
    untilStopped: () => stopped,
    env,
    cwd: terminal.directory,
  });
  await vi.waitFor(() => expect(printed).toContain('Ctrl-C stops the server.'), { timeout: 30_000, interval: 20 });
  noteSecret('password', /one-time password +(\S+)/.exec(printed)![1]);
  return {
    terminal,
    printed,
    issuer: `http://localhost:${port}`,
    async stop() {
      stop();
      const exitCode = await ended;
      await terminal.leave();
      return exitCode;
    },
  };
}

/** The words of a command as a shell reads them: quotes, and lines that go on. */
function wordsOf(command: string): string[] {
  const words = command.replaceAll('\\\n', ' ').matchAll(/"([^"]*)"|(\S+)/g);
  return [...words].map(([, quoted, plain]) => quoted ?? plain!).slice(1);
}

/** Signs the first administrator in at the application that was registered with these words. */
async function signInAt({ issuer, printed }: FirstStart, words: string[], clientId: string, scope: string, more = {}) {
  const redirectUri = words[words.indexOf('--redirect-uri') + 1]!;
  const request = authorizationRequest(issuer, { client_id: clientId, redirect_uri: redirectUri, scope, ...more });
  const agent = new UserAgent(issuer);
  const email = /e-mail +(\S+)/.exec(printed)![1]!;
  let page = await agent.submit(await agent.visit(request.url), {
    email,
    password: /one-time password +(\S+)/.exec(printed)![1]!,
  });
  const password = 'quite another violet teapot 42';
  const names = [
    ...page.body.matchAll(
      /<input[^>]*name="([^"]*)"[^>]*type="password"|<input[^>]*type="password"[^>]*name="([^"]*)"/g,
    ),
  ].map(([, one, other]) => one ?? other!);
  page = await agent.submit(page, Object.fromEntries(names.map((name) => [name, password])));
  const code = URL.parse(page.url)?.searchParams.get('code');
  expect(code, `${page.status} ${page.url}`).toBeTruthy();
  return tokenRequest(issuer, redemption(request, code!, redirectUri), { clientId });
}

describe('the first start', () => {
  let start: FirstStart;
  beforeAll(async () => {
    start = await firstStart();
  });
  afterAll(async () => expect(await start.stop()).toBe(0));

  test('every URL that it prints answers', async () => {
    const urls = [...start.printed.matchAll(/https?:\/\/localhost:\d+\S*/g)]
      .map(([url]) => url)
      .filter((url) => url.startsWith(start.issuer));
    expect(urls.length).toBeGreaterThanOrEqual(3);
    for (const url of urls) expect((await fetch(url)).status, url).toBe(200);
  });

  test('the application that it says to register signs the first administrator in', async () => {
    const command = /^ {7}(signet clients add (?:.*\\\n)*.*)$/m.exec(start.printed)![1]!;
    const words = wordsOf(command);
    const { exitCode, document } = await start.terminal.signet([...words, '--json']);
    expect({ exitCode, warnings: document.warnings }).toEqual({ exitCode: 0, warnings: [] });
    const { clientId } = document.application;
    const { status, body } = await signInAt(start, words, clientId, 'openid profile email roles');
    expect({ status, error: body.error }).toEqual({ status: 200, error: undefined });
    expect(decode(body.id_token).payload).toMatchObject({ aud: clientId, roles: ['admin'] });
    expect((await askUserinfo(start.issuer, body.access_token)).status).toBe(200);
    expect((await start.terminal.signet(['verify', body.access_token])).exitCode).toBe(0);
  });
});

test('the files that the first start names are there', async () => {
  const golden = await readFile(new URL('first-start.golden.txt', import.meta.url), 'utf8');
  for (const [name] of golden.matchAll(/signet\.example\.yaml/g)) {
    await expect(readFile(new URL(`../../${name}`, import.meta.url))).resolves.toBeDefined();
  }
});

describe('docs/cli.md', () => {
  test('every example works on a fresh server, with the lines of signet.yaml that stand beside it', async () => {
    const page = await readFile(new URL('../../docs/cli.md', import.meta.url), 'utf8');
    const blocks = [...page.matchAll(/```(\w*)\n(.*?)```/gs)].map(([, language, text]) => ({ language, text: text! }));
    const yaml = blocks
      .filter(({ language }) => language === 'yaml')
      .map(({ text }) => text)
      .join('\n');
    const commands = blocks
      .filter(({ language, text }) => language === '' && /^signet (?!<)/.test(text))
      .flatMap(({ text }) => text.split(/\n(?=signet )/));
    expect(commands.length).toBeGreaterThanOrEqual(2);
    const start = await firstStart(yaml);
    for (const command of commands) {
      const words = wordsOf(command.trim());
      const { exitCode, document } = await start.terminal.signet([...words, '--json']);
      expect({ command, exitCode, warnings: document.warnings }).toEqual({ command, exitCode: 0, warnings: [] });
      const { clientId, type, access } = document.application;
      const [audience] = Object.keys(access);
      if (type === 'service') {
        const secret = document.secret as string;
        const { status } = await tokenRequest(start.issuer, { grant_type: 'client_credentials' }, { clientId, secret });
        expect({ command, status }).toEqual({ command, status: 200 });
      } else if (audience) {
        const scope = `openid ${access[audience].join(' ')}`;
        const { status, body } = await signInAt(start, words, clientId, scope, { resource: audience });
        expect({ command, status }).toEqual({ command, status: 200 });
        expect([decode(body.access_token).payload.aud].flat()).toContain(audience);
      }
    }
    expect(await start.stop()).toBe(0);
  });

  test('an API that is not declared is told with what to write, and where', async () => {
    const terminal = await openTerminal();
    await terminal.makeDatabase();
    const { exitCode, err } = await terminal.signet([
      'clients',
      'add',
      '--name',
      'Orders',
      '--type',
      'service',
      '--access',
      'https://orders.example.com=orders:read',
    ]);
    expect(exitCode).toBe(2);
    expect(err).toMatch(/--access https:\/\/orders\.example\.com: names an audience that no entry of apis declares/);
    expect(err).toMatch(
      /\nhint: declare the API in signet\.yaml, and restart the server: apis: \[\{ audience: .*scopes: /,
    );
    await terminal.leave();
  });
});
