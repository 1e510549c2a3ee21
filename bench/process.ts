// A server under measurement, in a process of its own, and how it is asked what it has used.

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { freePort } from '../test/support/ports.ts';

interface Usage {
  /** CPU time of the process so far, user and system, milliseconds. */
  cpuMs: number;
  /** Resident memory, MiB. */
  rssMiB: number;
}

export interface MeasuredProcess {
  url: string;
  usage(): Promise<Usage>;
  /** Refresh tokens of as many grants, ready to be spent. */
  seed(count: number): Promise<string[]>;
  stop(): void;
}

export async function startMeasured(script: string, ...args: string[]): Promise<MeasuredProcess> {
  const port = await freePort();
  const child = fork(fileURLToPath(new URL(script, import.meta.url)), [String(port), ...args], { stdio: 'inherit' });
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
    const usage: Usage = { cpuMs: (user + system) / 1000, rssMiB: process.memoryUsage.rss() / 2 ** 20 };
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
