// The image, without a Docker engine: the stages' own scripts in clean directories, then the server from their work.

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { freePort } from '../support/ports.ts';
import { keyMaterialIn } from '../support/secrets.ts';
import { declared, person } from '../support/signet.ts';
import { signIn } from '../support/user-agent.ts';

const root = join(import.meta.dirname, '../..');
const home = mkdtempSync(join(tmpdir(), 'signet-image-'));
const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8');
let server: ChildProcess | undefined;
let url = '';
let printed = '';

/** The files that a stage copies from the build context, put where its script expects them. */
function stage(name: string): string {
  const directory = join(home, name);
  const text = new RegExp(`AS ${name}\\n(.*?)\\n\\n`, 's').exec(dockerfile)![1]!;
  for (const [, what] of text.matchAll(/^COPY (.+) \.\/.*$/gm)) {
    for (const path of what!.split(' ')) {
      mkdirSync(dirname(join(directory, path)), { recursive: true });
      cpSync(join(root, path), join(directory, path), { recursive: true });
    }
  }
  const script = /^RUN sh (.+)$/m.exec(text)![1]!;
  // As in the image, where there is one Node: the one that runs this.
  const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH']}`, NODE_ENV: '' };
  execFileSync('sh', [script], { cwd: directory, env, stdio: 'pipe' });
  return directory;
}

const final = join(home, 'final');
const main = join(final, 'dist/main.js');
// What node compiled counts for the options that it was started with, so they go with the image.
const nodeOptions = /^ENV NODE_OPTIONS=(\S+)$/m.exec(dockerfile)![1]!;
const environment = { PATH: process.env['PATH'], NODE_ENV: 'production', NODE_OPTIONS: nodeOptions };

beforeAll(async () => {
  mkdirSync(final);
  cpSync(join(stage('build'), 'dist'), join(final, 'dist'), { recursive: true });
  for (const path of ['package.json', 'LICENSE', 'views'])
    cpSync(join(root, path), join(final, path), { recursive: true });
  for (const name of ['healthcheck.js', 'compile.js']) cpSync(join(root, 'scripts/image', name), join(final, name));
  mkdirSync(join(final, 'node_modules/.cache/signet'), { recursive: true });
  const port = await freePort();
  url = `http://localhost:${port}`;
  execFileSync(process.execPath, ['compile.js'], {
    cwd: final,
    env: { ...environment, SIGNET_LISTEN_PORT: String(port) },
    stdio: 'pipe',
  });

  writeFileSync(join(final, 'signet.yaml'), JSON.stringify(declared));
  const env = { ...environment, SIGNET_LISTEN_PORT: String(port), NODE_DEBUG_NATIVE: 'COMPILE_CACHE' };
  const [command, ...args] = JSON.parse(/^CMD (.+)$/m.exec(dockerfile)![1]!) as [string, ...string[]];
  expect(command).toBe('node');
  server = spawn(process.execPath, args, { cwd: final, env });
  server.stdout!.on('data', (chunk: Buffer) => {
    printed += chunk;
  });
  server.stderr!.on('data', (chunk: Buffer) => {
    printed += chunk;
  });
  await vi.waitFor(
    async () => {
      const { status } = await fetch(`${url}/health/live`).catch(() => ({ status: 0 }));
      if (status !== 200) throw new Error(`the server does not answer; it printed:\n${printed}`);
    },
    { timeout: 15_000, interval: 100 },
  );
}, 240_000);

afterAll(async () => {
  if (server?.exitCode === null) {
    server.kill('SIGTERM');
    await new Promise((resolve) => server!.once('exit', resolve));
  }
  rmSync(home, { recursive: true, force: true });
});

/** What a command prints, both ways, beside the server. */
function signet(words: string[], input = '', env = {}): string {
  const options = { cwd: final, env: { ...environment, SIGNET_ISSUER: url, ...env }, input, encoding: 'utf8' } as const;
  const { stdout, stderr } = spawnSync(process.execPath, [main, ...words], options);
  return stdout + stderr;
}

describe('the image', () => {
  test('serves discovery from what is bundled, and has no package beside it but one with a binary', async () => {
    const discovery = await fetch(`${url}/.well-known/openid-configuration`).then((response) => response.json());
    expect(discovery).toMatchObject({ issuer: url });
    expect(readdirSync(join(final, 'node_modules'))).toEqual(['.cache']);
    expect(readdirSync(join(final, 'dist/node_modules')).sort()).toEqual(['bcrypt', 'node-gyp-build']);
  });

  test('signs a person in', async () => {
    signet(['accounts', 'add', person.email, '--password-stdin'], person.password);
    const { tokens } = await signIn(url, { clientId: 'web' });
    expect(Object.keys(tokens)).toEqual(expect.arrayContaining(['access_token', 'id_token', 'refresh_token']));
  });

  test('finds all that a start loads compiled, and loads nothing for what is not configured', () => {
    const loaded = [...printed.matchAll(/V8 code cache for ESM file:\/\/(\S+\/dist\/\S+\.js) was (\w+)/g)];
    expect(loaded.map(([, file]) => file)).toContain(join(final, 'dist/server.js'));
    expect(loaded.filter(([, , outcome]) => outcome !== 'accepted').map(([, file]) => file)).toEqual([]);
    // 620 files before they were bundled.
    expect(loaded.length).toBeLessThan(30);
    const code = loaded.map(([, file]) => readFileSync(file!, 'utf8')).join('\n');
    expect(code).toContain('\n// node_modules/oidc-provider/');
    for (const name of [
      'pg',
      '@azure/msal-node',
      'undici',
      '@redis/client',
      'node-forge',
      '@zxcvbn-ts/language-common',
    ]) {
      expect(code, name).not.toContain(`\n// node_modules/${name}/`);
    }
  });

  test('names the lines of src/ where its log has a stack', () => {
    const [, place] = /"stack":"[^"]*? at findKey \(([^)]+)\)/.exec(
      signet(['keys', 'activate', 'unheard-of'], '', { SIGNET_LOG_LEVEL: 'debug' }),
    )!;
    const [, file, line] = /^file:.*\/(src\/keys\/[\w-]+\.ts):(\d+):\d+$/.exec(place!)!;
    expect(readFileSync(join(root, file!), 'utf8').split('\n')[Number(line) - 1]).toContain('key_unknown');
  });

  test('carries the licence of every package that it has code of, and their list', () => {
    const licences = readFileSync(join(final, 'dist/THIRD-PARTY-LICENSES.txt'), 'utf8');
    const { components } = JSON.parse(readFileSync(join(final, 'dist/sbom.cdx.json'), 'utf8'));
    const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const listed = components.map(({ name }: { name: string }) => name);
    expect(listed).toEqual(expect.arrayContaining(Object.keys(dependencies)));
    expect(listed).not.toContain('vitest');
    for (const name of listed) expect(licences, name).toContain(`\n${name} `);
  });

  test('shows its pages with their style', async () => {
    const page = await fetch(`${url}/`).then((response) => response.text());
    const style = /href="([^"]+\.css)"/.exec(page)![1]!;
    expect((await fetch(new URL(style, url))).status).toBe(200);
  });

  test('its health check passes while the server answers', () => {
    const { port } = new URL(url);
    execFileSync(process.execPath, ['healthcheck.js'], { cwd: final, env: { SIGNET_LISTEN_PORT: port } });
    expect(() =>
      execFileSync(process.execPath, ['healthcheck.js'], {
        cwd: final,
        env: { SIGNET_LISTEN_PORT: '1' },
        stdio: 'pipe',
      }),
    ).toThrow();
  });

  test('prints no private key while it makes the first ones', () => {
    expect(printed).toContain('key.activated');
    expect(keyMaterialIn(printed)).toEqual([]);
  });

  test('runs as an ordinary user on Node 24', () => {
    expect([...dockerfile.matchAll(/^USER (\w+)$/gm)].at(-1)?.[1]).toBe('node');
    const images = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image);
    expect(images).toEqual(['node:24-slim', 'node:24-slim']);
  });
});
