// A real nginx for tests: one configuration, in the foreground, nothing written outside of a directory of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { findNginx } from '../../scripts/services.ts';
import { onProcessEnd } from './process-end.ts';

/** Where `npm test` could not get nginx: its tests are then skipped, which it says, and which fails on CI. */
export const noNginx = Boolean(process.env.SIGNET_TEST_NO_NGINX);

export interface Proxy {
  /** What it wrote to its error log. */
  errors(): string;
  stop(): Promise<void>;
}

/** Runs the content of an `http { … }` section; resolves when `port` accepts connections. */
export async function startNginx(http: string, port: number): Promise<Proxy> {
  const program = findNginx();
  if (program === undefined) throw new Error('nginx is not installed: npm test says how to get it');
  const directory = mkdtempSync(join(tmpdir(), 'signet-nginx-'));
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${directory}/${kind};`)
    .join('\n');
  const file = join(directory, 'nginx.conf');
  writeFileSync(
    file,
    `${process.getuid?.() === 0 ? 'user root;' : ''}
    daemon off; worker_processes 1; pid ${directory}/nginx.pid; error_log stderr warn;
    events { worker_connections 1024; }
    http { access_log off; ${temporary}\n${http}\n}`,
  );
  return runProxy(program, ['-p', directory, '-c', file, '-e', 'stderr'], port, () =>
    rmSync(directory, { recursive: true, force: true }),
  );
}

/** A proxy in the foreground, until it is stopped. */
export async function runProxy(
  program: string,
  args: string[],
  port: number,
  cleanUp: () => void,
  env: NodeJS.ProcessEnv = {},
): Promise<Proxy> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env.PATH, ...env } });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk;
  });
  const ended = once(child, 'exit');
  const forget = onProcessEnd(() => void child.kill('SIGKILL'));
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${program} did not start: ${errors}`);
    if (await accepts(port)) break;
    await pause(20);
  }
  return {
    errors: () => errors,
    async stop() {
      child.kill('SIGTERM');
      await ended;
      forget();
      cleanUp();
    },
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.end());
  });
}
