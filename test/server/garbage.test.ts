import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../support/ports.ts';
import { declared, person } from '../support/signet.ts';
import { asClient, signIn, tokenRequest } from '../support/user-agent.ts';

const signet = fileURLToPath(new URL('../../signet.js', import.meta.url));
const reporter = fileURLToPath(new URL('../support/garbage-reporter.ts', import.meta.url));
const agent = new Agent({ keepAlive: true, maxSockets: 8 });

let server: ChildProcess;
let issuer: string;

// A process of its own: what this one allocates to ask is not what is counted.
beforeAll(async () => {
  const cwd = await mkdtemp(join(process.env.SIGNET_TEST_DIRECTORY!, 'garbage-'));
  const port = await freePort();
  issuer = `http://localhost:${port}`;
  const settings = {
    listen: { port },
    log: { level: 'warn' },
    tokens: { refreshSpacing: 0 },
    passwords: { bcryptCost: 4 },
  };
  await writeFile(join(cwd, 'signet.yaml'), JSON.stringify({ ...settings, ...declared }));
  server = fork(signet, ['serve'], {
    cwd,
    execArgv: ['--import', reporter],
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  await once(server.stdout!, 'data');
  const command = fork(signet, ['accounts', 'add', person.email, '--password-stdin'], {
    cwd,
    stdio: ['pipe', 'ignore', 'inherit', 'ipc'],
  });
  command.stdin!.end(person.password);
  await once(command, 'exit');
});

afterAll(async () => {
  agent.destroy();
  server.kill();
  await once(server, 'exit');
});

async function oldBytes(): Promise<number> {
  server.send('?');
  const [bytes] = await once(server, 'message');
  return bytes;
}

/** Bytes that a request leaves in the old generation, once the code that answers it is warm. */
async function leftBy(ask: (worker: number) => Promise<unknown>, count = 800): Promise<number> {
  const askEach = (times: number) =>
    Promise.all(
      Array.from({ length: 8 }, async (_, worker) => {
        for (let done = 0; done < times / 8; done += 1) await ask(worker);
      }),
    );
  await askEach(count);
  const before = await oldBytes();
  await askEach(count);
  return ((await oldBytes()) - before) / count;
}

function fetched(from: string): Promise<void> {
  return new Promise((resolve, reject) => {
    get(issuer + from, { agent }, (answer) => answer.resume().once('end', resolve)).once('error', reject);
  });
}

// A request allocates 20 to 100 kB; where some of it was kept, it was 9 kB and more.
const little = 2000;

test.each(['/health/live', '/', '/jwks', '/.well-known/openid-configuration'])(
  'GET %s leaves nothing',
  async (from) => {
    expect(await leftBy(() => fetched(from))).toBeLessThan(little);
  },
);

test('client credentials leave nothing', async () => {
  const form = { grant_type: 'client_credentials', scope: 'orders:read' };
  expect(await leftBy(() => tokenRequest(issuer, form, asClient('service')), 400)).toBeLessThan(little);
});

test('refreshes leave nothing', async () => {
  const tokens: string[] = [];
  for (let worker = 0; worker < 8; worker += 1) {
    tokens.push((await signIn(issuer, { clientId: 'web' })).tokens.refresh_token);
  }
  const refresh = async (worker: number) => {
    const form = { grant_type: 'refresh_token', refresh_token: tokens[worker]! };
    const { status, body } = await tokenRequest(issuer, form, asClient('web'));
    expect(status).toBe(200);
    tokens[worker] = body.refresh_token;
  };
  expect(await leftBy(refresh, 400)).toBeLessThan(little);
});
