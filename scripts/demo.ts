// `npm run demo`: an issuer, the sample application and the orders API, each on its own origin, with a person who can
// sign in. What it stores is in data/demo, and gone when it ends, so it meets nobody else's data. Where the usual
// ports are taken, `npm run demo -- --port 3100` takes five from there on.

import { spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build, preview } from 'vite';
import { loadConfig } from '../src/config/config.ts';
import { AppError, isAppError } from '../src/errors.ts';
import { createLog } from '../src/log.ts';
import { type RunningServer, startServer } from '../src/server.ts';
import { openStore } from '../src/store.ts';
import { type SimulatedMicrosoft, startMicrosoft } from './demo-microsoft.ts';

const usualPorts = [3000, 3001, 5173, 4000, 8443];
const ports = portsFrom(process.argv.slice(2));
const [issuer, server, app, ordersApi, microsoftHere] = ports.map((port) => `http://localhost:${port}`) as [
  string,
  string,
  string,
  string,
  string,
];
const ordersAudience = 'https://orders.example.com';
const person = { email: 'ada@example.com', name: 'Ada', roles: ['buyer'], password: 'only for the demo' };

const path = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const directory = path(ports === usualPorts ? 'data/demo' : `data/demo-${ports[0]}`);
const log = createLog('warn');

let microsoft: SimulatedMicrosoft | undefined;

const config = () =>
  loadConfig({
    env: {},
    cwd: directory,
    values: {
      issuer,
      listen: { host: '127.0.0.1', port: Number(new URL(server).port) },
      ...(microsoft ? { entra: microsoft.config } : {}),
      database: { url: 'sqlite:signet.db' },
      keys: { masterKeyFile: 'master.key' },
      // Short, so that a renewal can be watched.
      tokens: { accessTokenLife: '2m' },
      apis: [
        {
          audience: ordersAudience,
          name: 'Orders',
          scopes: { 'orders:read': 'See your orders', 'orders:write': 'Place orders' },
        },
      ],
      applications: [
        {
          clientId: 'orders-app',
          name: 'Orders',
          type: 'spa',
          firstParty: true,
          origins: [app],
          redirectUris: [`${app}/callback`],
          postLogoutRedirectUris: [`${app}/signed-out`],
          access: { [ordersAudience]: ['orders:read', 'orders:write'] },
        },
      ],
    },
  });

const welcome = `
Signet, the demo. It runs on this machine alone, and Ctrl-C ends it.

  Open this     ${app}
  Sign in as    ${person.email}, password: ${person.password}
  or as         alice@contoso.example, with Microsoft (simulated, at ${microsoftHere})

  The issuer    ${issuer}
  An API        ${ordersApi}

What to try:
  1. Sign in and order something. The API learns who you are from the access token alone.
  2. Watch the token: it lives for two minutes and is renewed by itself.
  3. Open the application in a second tab. Nobody asks for the password.
  4. Press i: the issuer stops. Orders still work, because the API verifies offline. Press i again.
  5. Sign out. The other tab notices. Whoever came from Microsoft may sign out there, too.
  6. Sign in as others of the simulated tenant: unassigned, disabled, with a second factor that takes its time.
`;

const closers: Array<() => unknown> = [];

try {
  await start();
} catch (error) {
  await quit(isAppError(error) ? `error: ${error.message}${error.hint ? `\nhint: ${error.hint}` : ''}` : error);
}

async function start(): Promise<void> {
  for (const port of ports) await requireFreePort(port);
  process.once('SIGTERM', () => void quit());
  process.once('SIGINT', () => void quit());

  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  closers.push(() => rmSync(directory, { recursive: true, force: true }));
  microsoft = await startMicrosoft({ issuer, server, here: microsoftHere, directory });
  closers.push(() => microsoft?.close());
  await seedPerson();
  const start = () => startServer(config(), log, { dispatcher: microsoft!.dispatcher });
  let running: RunningServer | undefined = await start();
  closers.push(() => running?.close());
  startOrdersApi();
  await serveApp();

  const toggleIssuer = once(async () => {
    if (running) await running.close();
    running = running ? undefined : await start();
    console.log(running ? 'The issuer is back.' : 'The issuer is stopped: order something. Press i to start it again.');
  });
  onKey({ i: toggleIssuer, q: () => void quit(), '\u0003': () => void quit() });
  console.log(welcome);
}

async function seedPerson(): Promise<void> {
  const store = await openStore(config(), log);
  const passwordHash = await store.passwords.hash(person.password);
  await store.accounts.create({ email: person.email, name: person.name, roles: person.roles, passwordHash }, 'demo');
  await store.close();
}

function startOrdersApi(): void {
  const { port } = new URL(ordersApi);
  const child = spawn(process.execPath, [path('examples/orders-api/server.ts')], {
    env: { ...process.env, PORT: port, ISSUER: issuer, AUDIENCE: ordersAudience, APP_ORIGIN: app },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const onExit = () => void quit(`error: the orders API ended with ${child.exitCode}`);
  child.once('exit', onExit);
  closers.push(() => {
    child.off('exit', onExit);
    child.kill();
  });
}

async function serveApp(): Promise<void> {
  const common = { root: path('examples/vue-spa'), logLevel: 'warn' } as const;
  Object.assign(process.env, { VITE_ISSUER: issuer, VITE_ORDERS_URL: ordersApi, VITE_ORDERS_AUDIENCE: ordersAudience });
  const output = { outDir: `${directory}/app`, emptyOutDir: true };
  await build({ ...common, build: output });
  const server = await preview({ ...common, build: output, preview: { port: Number(new URL(app).port) } });
  closers.push(() => server.close());
}

function portsFrom(words: string[]): number[] {
  if (words.length === 0) return usualPorts;
  const first = words[0] === '--port' && words.length === 2 ? Number(words[1]) : NaN;
  if (Number.isInteger(first) && first > 0 && first <= 65_531) return usualPorts.map((_port, index) => first + index);
  console.error('error: the demo takes --port NUMBER, the first of five ports\nhint: npm run demo -- --port 3100');
  process.exit(2);
}

async function requireFreePort(port: number): Promise<void> {
  for (const host of ['localhost', '127.0.0.1']) {
    const probe = createServer();
    await new Promise<void>((resolve, reject) => {
      const hint =
        `the demo needs the ports ${ports.join(', ')}: ` +
        'stop what runs there, or name another first port (--port 3100)';
      const message = `port ${port} is in use by another process`;
      probe.once('error', (cause) => reject(new AppError('port_in_use', 500, message, { cause, hint })));
      probe.listen(port, host, resolve);
    });
    await new Promise((resolve) => probe.close(resolve));
  }
}

/** `work`, but not again while it is under way. */
function once(work: () => Promise<void>): () => void {
  let underWay = false;
  return () => {
    if (underWay) return;
    underWay = true;
    work()
      .catch(quit)
      .finally(() => {
        underWay = false;
      });
  };
}

function onKey(actions: Record<string, () => void>): void {
  if (!process.stdin.isTTY) return;
  process.stdin.setRawMode(true);
  process.stdin.on('data', (data) => actions[data.toString()]?.());
}

async function quit(problem?: unknown): Promise<never> {
  if (problem !== undefined) console.error(problem);
  for (let close = closers.pop(); close; close = closers.pop()) await close();
  process.exit(problem === undefined ? 0 : 1);
}
