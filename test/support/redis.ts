// A real Redis server for tests: nothing on disk, its own port on 127.0.0.1, and gone afterwards. It can be taken away
// and brought back, with nothing in its memory, as when it was restarted.

import { type ChildProcess, spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { findRedis } from '../../scripts/services.ts';
import { freePort } from './ports.ts';
import { onProcessEnd } from './process-end.ts';

/** Where `npm test` could not get Redis: its tests are then skipped, which it says, and which fails on CI. */
export const noRedis = Boolean(process.env.SIGNET_TEST_NO_REDIS);

export interface RedisServer {
  url: string;
  /** Ends it at once. */
  stop(): Promise<void>;
  /** Starts it again on the same port, empty. */
  start(): Promise<void>;
  /** Lets it answer nobody, as if the network to it were gone. */
  freeze(): void;
  thaw(): void;
}

export async function startRedis(): Promise<RedisServer> {
  const program = findRedis();
  if (program === undefined) throw new Error('Redis is not installed: npm test says how to get it');
  const port = await freePort();
  let running: ChildProcess | undefined;
  let forget = () => {};

  async function start(): Promise<void> {
    const server = spawn(
      program!,
      ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', tmpdir()],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    running = server;
    forget = onProcessEnd(() => void server.kill('SIGKILL'));
    await new Promise<void>((resolve, reject) => {
      server.stdout!.on('data', (chunk: Buffer) => {
        if (chunk.includes('Ready to accept connections')) resolve();
      });
      server.once('error', reject);
      server.once('exit', (code) => reject(new Error(`Redis did not start: exit code ${code}`)));
    });
  }

  async function stop(): Promise<void> {
    const server = running;
    running = undefined;
    if (!server) return;
    forget();
    const ended = new Promise((resolve) => server.once('exit', resolve));
    server.kill('SIGKILL');
    await ended;
  }

  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    start,
    stop,
    freeze: () => void running?.kill('SIGSTOP'),
    thaw: () => void running?.kill('SIGCONT'),
  };
}
