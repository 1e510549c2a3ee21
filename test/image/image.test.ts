// The image, without a Docker engine: the stages' own scripts in clean directories, then the server from their work.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { freePort } from '../support/ports.ts';
import { keyMaterialIn } from '../support/secrets.ts';

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

beforeAll(async () => {
  const final = join(home, 'final');
  mkdirSync(final);
  cpSync(join(stage('build'), 'dist'), join(final, 'dist'), { recursive: true });
  const modules = join(stage('dependencies'), 'node_modules');
  cpSync(modules, join(final, 'node_modules'), { recursive: true, verbatimSymlinks: true });
  for (const path of ['package.json', 'views']) cpSync(join(root, path), join(final, path), { recursive: true });
  cpSync(join(root, 'scripts/image/healthcheck.js'), join(final, 'healthcheck.js'));

  const port = await freePort();
  url = `http://localhost:${port}`;
  const env = { PATH: process.env['PATH'], NODE_ENV: 'production', SIGNET_LISTEN_PORT: String(port) };
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

describe('the image', () => {
  test('serves discovery from compiled code and production dependencies alone', async () => {
    const discovery = await fetch(`${url}/.well-known/openid-configuration`).then((response) => response.json());
    expect(discovery).toMatchObject({ issuer: url });
    const modules = join(home, 'final/node_modules');
    for (const absent of ['typescript', 'vitest', 'vite', 'node', 'playwright-core']) {
      expect(existsSync(join(modules, absent)), absent).toBe(false);
    }
  });

  test('shows its pages with their style', async () => {
    const page = await fetch(`${url}/`).then((response) => response.text());
    const style = /href="([^"]+\.css)"/.exec(page)![1]!;
    expect((await fetch(new URL(style, url))).status).toBe(200);
  });

  test('its health check passes while the server answers', () => {
    const { port } = new URL(url);
    execFileSync(process.execPath, ['healthcheck.js'], { cwd: join(home, 'final'), env: { SIGNET_LISTEN_PORT: port } });
    expect(() =>
      execFileSync(process.execPath, ['healthcheck.js'], {
        cwd: join(home, 'final'),
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
    expect(dockerfile).toMatch(/^USER node$/m);
    const images = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image);
    expect(images).toEqual(['node:24-slim', 'node:24-slim', 'node:24-slim']);
  });
});
