// The servers of a test, each a process: started, stopped, told to die, asked how they are.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { endsWithUs } from '../support/process-end.ts';
import { keyMaterialIn } from '../support/secrets.ts';
import { pace, type ServerSettings } from './scaled.ts';

interface LogLine {
  level: string;
  event: string;
  [fact: string]: any;
}

export interface ServerProcess {
  port: number;
  /** What it has logged, and whatever else it wrote to standard error. */
  log: LogLine[];
  /** Kills itself with SIGKILL the moment it logs `event`; undefined takes that back. */
  dieAt(event: string | undefined): void;
  /** SIGKILL. */
  kill(): void;
  /** How it ended. */
  ended: Promise<{ code: number | null; signal: string | null }>;
  health(): Promise<{ status: number; body: { keys: { ok: boolean; failure: string | null; clockOffset: number } } }>;
  /** SIGTERM: finishes what is under way. */
  stop(): Promise<void>;
}

const program = new URL('server-process.ts', import.meta.url);
const clockShift = new URL('clock-shift.ts', import.meta.url);

export async function startServerProcess(settings: ServerSettings, { clockShiftMs = 0 } = {}): Promise<ServerProcess> {
  const child = endsWithUs(
    fork(program, [JSON.stringify(settings)], {
      execArgv: clockShiftMs === 0 ? [] : ['--import', clockShift.href],
      env: {
        PATH: process.env.PATH,
        SIGNET_TEST_CLOCK_SHIFT_MS: String(clockShiftMs),
        SIGNET_TEST_PACE: String(pace),
        // Each start after the first finds the modules compiled.
        NODE_COMPILE_CACHE: join(process.env.SIGNET_TEST_DIRECTORY!, 'compiled'),
      },
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    }),
  );
  const log: LogLine[] = [];
  const leaks = new Set<string>();
  createInterface(child.stderr!).on('line', (line) => {
    log.push(parsed(line));
    for (const kind of keyMaterialIn(line)) leaks.add(kind);
  });
  const ended = once(child, 'exit').then(([code, signal]) => ({ code, signal }));

  const ready = await Promise.race([once(child, 'message').then(() => true), ended.then(() => false)]);
  if (!ready) throw new Error(`a server did not start: ${JSON.stringify(log.slice(-20), null, 1)}`);

  return {
    port: settings.port,
    log,
    ended,
    kill: () => void child.kill('SIGKILL'),
    dieAt: (event) => void (child.connected && child.send({ dieAt: event })),
    async health() {
      const answer = await fetch(`http://127.0.0.1:${settings.port}/health/ready`);
      return { status: answer.status, body: (await answer.json()) as never };
    },
    async stop() {
      child.kill('SIGTERM');
      const kill = setTimeout(() => child.kill('SIGKILL'), 15_000 * pace);
      await ended;
      clearTimeout(kill);
      if (leaks.size > 0) throw new Error(`the log of a server shows ${[...leaks].join(', ')}`);
    },
  };
}

function parsed(line: string): LogLine {
  return line.startsWith('{') ? (JSON.parse(line) as LogLine) : { level: 'error', event: 'not a log line', line };
}
