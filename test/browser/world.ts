// The sample application, the orders API and an issuer, each on its own origin, as `npm run demo` starts them, and
// another company's application that has to ask for consent.

import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, preview } from 'vite';
import { freePort } from '../support/ports.ts';
import { endsWithUs } from '../support/process-end.ts';
import { ordersApi, secret, startSignet, type TestServer, type TestServerOptions } from '../support/signet.ts';

const examples = fileURLToPath(new URL('../../examples', import.meta.url));

export interface World {
  signet: TestServer;
  /** Origins. The sample application answers at two: `app` is on the issuer's site, `distantApp` is not. */
  app: string;
  distantApp: string;
  orders: string;
  reports: string;
  /** Where a person of the other company's application begins. */
  reportsSignIn: string;
  close(): Promise<void>;
}

const orders = ['orders:read', 'orders:write'];

interface WorldOptions extends Pick<TestServerOptions, 'database' | 'parts'> {
  /** A section of the configuration that signs people in with Microsoft. */
  entra?: Record<string, unknown>;
}

export async function startWorld({ database, parts, entra }: WorldOptions = {}): Promise<World> {
  const [appPort, ordersPort, reportsPort] = [await freePort(), await freePort(), await freePort()];
  const [app, distantApp] = [`http://localhost:${appPort}`, `http://app.localhost:${appPort}`];
  const [ordersUrl, reports] = [`http://localhost:${ordersPort}`, `http://localhost:${reportsPort}`];
  const signet = await startSignet({
    database,
    parts,
    values: {
      ...(entra ? { entra } : {}),
      applications: [
        {
          clientId: 'orders-app',
          name: 'Orders',
          type: 'spa',
          firstParty: true,
          origins: [app, distantApp],
          redirectUris: [`${app}/callback`, `${distantApp}/callback`],
          postLogoutRedirectUris: [`${app}/signed-out`, `${distantApp}/signed-out`],
          access: { [ordersApi]: orders },
        },
        {
          clientId: 'reports',
          name: 'Reports',
          type: 'web',
          secret,
          redirectUris: [`${reports}/callback`],
          access: { [ordersApi]: ['orders:read'] },
        },
      ],
    },
  });
  const closers = [
    () => signet.close(),
    await serveApp({ port: appPort, issuer: signet.issuer, ordersUrl }),
    await serveOrders({ port: ordersPort, issuer: signet.issuer, app }),
    await serveReports(reportsPort),
  ];
  const request = new URLSearchParams({
    client_id: 'reports',
    response_type: 'code',
    redirect_uri: `${reports}/callback`,
    scope: 'openid email orders:read',
    state: 'begun-here',
    code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
    code_challenge_method: 'S256',
  });
  return {
    signet,
    app,
    distantApp,
    orders: ordersUrl,
    reports,
    reportsSignIn: `${signet.issuer}/auth?${request}`,
    async close() {
      for (const close of closers.toReversed()) await close();
    },
  };
}

async function serveApp({ port, issuer, ordersUrl }: { port: number; issuer: string; ordersUrl: string }) {
  const directory = await mkdtemp(join(tmpdir(), 'signet-spa-'));
  await writeFile(join(directory, '.env'), `VITE_ISSUER=${issuer}\nVITE_ORDERS_URL=${ordersUrl}\n`);
  const common = { root: join(examples, 'vue-spa'), envDir: directory, logLevel: 'warn' } as const;
  const output = { outDir: join(directory, 'dist'), emptyOutDir: true };
  await build({ ...common, build: output });
  const server = await preview({ ...common, build: output, preview: { port, strictPort: true } });
  return async () => {
    await server.close();
    await rm(directory, { recursive: true, force: true });
  };
}

/** In a process of its own, so that nothing but HTTP can connect it to the issuer. */
async function serveOrders({ port, issuer, app }: { port: number; issuer: string; app: string }) {
  const child = endsWithUs(
    spawn(process.execPath, [join(examples, 'orders-api/server.ts')], {
      env: { PORT: String(port), ISSUER: issuer, AUDIENCE: ordersApi, APP_ORIGIN: app },
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('exit', (code) => reject(new Error(`the orders API ended with ${code}`)));
  });
  return () =>
    new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.kill();
    });
}

/** Shows what it was called back with, in the address or by form_post. */
async function serveReports(port: number) {
  const server: Server = createServer(async (request, response) => {
    response.setHeader('Content-Type', 'text/html');
    const form = (await request.toArray()).join('');
    const answer = form ? new URLSearchParams(form) : new URL(request.url ?? '/', 'http://localhost').searchParams;
    response.end(`<title>Reports</title><h1>${answer.has('code') ? 'Connected' : answer.get('error')}</h1>`);
  });
  await new Promise<void>((resolve) => server.listen(port, 'localhost', resolve));
  return () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
}
