// A server under measurement, in a process of its own, and how it is asked what it has used.

import { type ChildProcess, fork } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../test/support/ports.ts';

interface Usage {
  /** CPU time of the process so far, user and system, milliseconds. */
  cpuMs: number;
}

export interface MeasuredProcess {
  url: string;
  usage(): Promise<Usage>;
  /** Refresh tokens of as many grants, ready to be spent. */
  seed(count: number): Promise<string[]>;
  stop(): void;
}

/** @param script beside this file, or the path of another checkout's */
export async function startMeasured(script: string, ...args: string[]): Promise<MeasuredProcess> {
  const port = await freePort();
  const path = isAbsolute(script) ? script : fileURLToPath(new URL(script, import.meta.url));
  const child = fork(path, [String(port), ...args], { stdio: 'inherit' });
  child.once('exit', (code) => {
    if (code) throw new Error(`${script} ended with ${code}`);
  });
  await answerOf(child, 'ready');
  return {
    url: `http://localhost:${port}`,
    usage: () => ask<Usage>(child, 'usage'),
    seed: (count) => ask<string[]>(child, 'seed', count),
    stop: () => child.kill('SIGKILL'),
  };
}

/** In the child: ready, and answering. */
export function report(seed: (count: number) => Promise<string[]>): void {
  process.on('message', async ({ question, argument }: { question: string; argument: number }) => {
    const { user, system } = process.cpuUsage();
    const usage: Usage = { cpuMs: (user + system) / 1000 };
    process.send!({ [question]: question === 'usage' ? usage : await seed(argument) });
  });
  process.send!({ ready: true });
}

function ask<T>(child: ChildProcess, question: string, argument?: number): Promise<T> {
  const answer = answerOf<T>(child, question);
  child.send({ question, argument });
  return answer;
}

function answerOf<T>(child: ChildProcess, name: string): Promise<T> {
  return new Promise((resolve) => {
    child.on('message', function hear(message: Record<string, T>) {
      if (!(name in message)) return;
      child.off('message', hear);
      resolve(message[name]!);
    });
  });
}

const tickMs = 10;

/** CPU time of all PostgreSQL on this machine so far, milliseconds; those of its processes that have ended are in their parent's. */
export function postgresCpuMs(): number {
  const stats = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(statOf)
    .filter((stat) => stat !== undefined);
  return stats.reduce((sum, fields) => sum + fields.reduce((all, field) => all + field, 0) * tickMs, 0);
}

/** proc_pid_stat(5): utime, stime, cutime, cstime. */
function statOf(pid: string): number[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    if (!text.includes('(postgres)')) return undefined;
    return text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 15)
      .map(Number);
  } catch {
    return undefined; // it has ended
  }
}
