// `signet serve` as an operator starts it, on a database of its own, and what its processes use: asked of its metrics.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import bcrypt from 'bcrypt';
import { loadConfig } from '../src/config/config.ts';
import { silentLog } from '../src/log.ts';
import { openStore } from '../src/store.ts';
import { freePort } from '../test/support/ports.ts';
import { declared, person } from '../test/support/signet.ts';
import { signIn } from '../test/support/user-agent.ts';

const signet = fileURLToPath(new URL('../signet.js', import.meta.url));

export interface ServeOptions {
  /** Default: signet.js of this checkout. */
  program?: string;
  workers?: number;
  /** The cores that its processes may run on, as taskset has them. Default: all. */
  cores?: string;
  /** Default: SQLite, in a directory of its own. */
  database?: string | undefined;
  bcryptCost?: number;
  env?: NodeJS.ProcessEnv;
}

export interface Served {
  issuer: string;
  port: number;
  /** Processor time of all its processes so far, milliseconds. */
  cpuMs(): Promise<number>;
  /** Refresh tokens of as many grants of the application `web`. */
  seed(count: number): Promise<string[]>;
  stop(): Promise<void>;
}

export async function serve({
  workers,
  cores,
  database,
  bcryptCost = 4,
  env,
  program = signet,
}: ServeOptions): Promise<Served> {
  const directory = mkdtempSync(join(tmpdir(), 'signet-bench-'));
  const [port, metricsPort] = [await freePort(), await freePort()];
  const values = {
    listen: { port, host: '127.0.0.1' },
    metrics: { listen: { port: metricsPort } },
    ...(workers && { workers }),
    log: { level: 'warn' },
    passwords: { bcryptCost },
    ...declared,
    // Each client refreshes as fast as it can, and each time for a token of its own.
    tokens: { refreshSpacing: 0 },
    ...(database && { database: { url: database } }),
  };
  writeFileSync(join(directory, 'signet.yaml'), JSON.stringify(values)); // which is YAML as well
  const store = await openStore(loadConfig({ env: {}, cwd: directory }), silentLog);
  const passwordHash = await bcrypt.hash(person.password, bcryptCost);
  await store.accounts.create({ email: person.email, roles: ['buyer'], passwordHash }, 'bench');
  await store.close();

  const words = [process.execPath, program, 'serve'];
  const [command, ...args] = cores === undefined ? words : ['taskset', '-c', cores, ...words];
  const child = spawn(command!, args, { cwd: directory, env: { PATH: process.env['PATH'], ...env } });
  child.stderr.pipe(process.stderr);
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (said) => String(said).includes('running') && resolve());
    child.once('exit', (code) => reject(new Error(`signet serve ended with ${code}`)));
  });
  const issuer = `http://localhost:${port}`;
  return {
    issuer,
    port,
    async cpuMs() {
      const figures = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
      const seconds = Array.from(figures.matchAll(/^process_cpu_seconds_total(?:\{.*\})? (\S+)$/gm), ([, of]) =>
        Number(of),
      );
      return seconds.reduce((sum, of) => sum + of, 0) * 1000;
    },
    async seed(count) {
      const tokens: string[] = [];
      while (tokens.length < count) tokens.push((await signIn(issuer, { clientId: 'web' })).tokens.refresh_token);
      return tokens;
    },
    async stop() {
      child.kill('SIGTERM');
      await new Promise((resolve) => child.once('exit', resolve));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
