// Microsoft, for the demo: the simulator as a process of its own. The server is configured as in production, host names
// included; its connections are led to the simulator. A browser cannot be told that without arguments at its start, so
// a gateway in front of the server writes the simulator's own address in place of Microsoft's wherever a browser would
// be sent to it, and that address passes everything on.

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { fileURLToPath } from 'node:url';
import { Agent, type Dispatcher } from 'undici';
import { createConnector } from '../entra-sim/connector.ts';

const microsoft = 'https://login.microsoftonline.com';

export interface SimulatedMicrosoft {
  /** The entra section of the server's configuration. */
  config: Record<string, unknown>;
  dispatcher: Dispatcher;
  close(): Promise<void>;
}

interface Places {
  /** Where browsers find the issuer, and where it really listens. */
  issuer: string;
  server: string;
  /** Where browsers find Microsoft. */
  here: string;
  directory: string;
}

export async function startMicrosoft({ issuer, server, here, directory }: Places): Promise<SimulatedMicrosoft> {
  const simulator = await startSimulator(issuer, directory);
  const { port, ca, tenantId, clientId, clientSecret } = simulator;
  const dispatcher = new Agent({ connect: createConnector({ ca, port }) });
  const close = [
    await listen(here, (req, res) =>
      passOn(req, res, httpsRequest, {
        host: '127.0.0.1',
        port,
        ca,
        servername: new URL(microsoft).host,
        headers: { ...req.headers, host: new URL(microsoft).host },
      }),
    ),
    await listen(issuer, (req, res) =>
      passOn(
        req,
        res,
        httpRequest,
        {
          host: '127.0.0.1',
          port: Number(new URL(server).port),
          headers: req.headers,
        },
        (headers) => sendBrowsersTo(here, headers),
      ),
    ),
  ];
  return {
    config: {
      tenant: tenantId,
      clientId,
      clientSecret,
      label: 'Microsoft (simulated)',
      domains: ['contoso.example'],
      roles: { appRoles: { Reader: ['buyer'] } },
      recheck: { every: '1m' },
    },
    dispatcher,
    async close() {
      for (const one of close) await one();
      await dispatcher.close();
      simulator.end();
    },
  };
}

interface Ready {
  port: number;
  caPath: string;
  tenantId: string;
  clientId: string;
  clientSecret: string;
}

async function startSimulator(issuer: string, directory: string) {
  const main = fileURLToPath(new URL('../entra-sim/main.ts', import.meta.url));
  const child = spawn(
    process.execPath,
    [
      main,
      '--directory',
      directory,
      '--redirect-uri',
      `${issuer}/sign-in/entra/callback`,
      '--redirect-uri',
      `${issuer}/sign-in/entra/signed-out`,
      '--front-channel-logout-url',
      `${issuer}/sign-in/entra/frontchannel-logout`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (data: Buffer) => resolve(data.toString()));
    child.once('exit', (code) => reject(new Error(`the simulated Microsoft ended with ${code}`)));
  });
  const ready = JSON.parse(line) as Ready;
  return { ...ready, ca: readFileSync(ready.caPath, 'utf8'), end: () => child.kill() };
}

/** In headers alone: no page of ours holds an address of Microsoft's. */
function sendBrowsersTo(here: string, headers: Record<string, string | string[] | undefined>) {
  const { location, 'content-security-policy': policy } = headers;
  return {
    ...headers,
    ...(typeof location === 'string' ? { location: location.replace(microsoft, here) } : {}),
    ...(typeof policy === 'string' ? { 'content-security-policy': allowing(here, policy) } : {}),
  };
}

function allowing(here: string, policy: string): string {
  return policy.replace("form-action 'self'", `form-action 'self' ${here}`).replace(microsoft, here);
}

function passOn(
  req: IncomingMessage,
  res: ServerResponse,
  send: typeof httpRequest | typeof httpsRequest,
  to: RequestOptions,
  edited: (headers: IncomingMessage['headers']) => object = (headers) => headers,
): void {
  const outgoing = send({ ...to, method: req.method, path: req.url }, (answer) => {
    res.writeHead(answer.statusCode ?? 502, edited(answer.headers) as Record<string, string>);
    answer.pipe(res);
  });
  // What is not there behind the gateway is not there: a browser sees a refused connection, as it would without it.
  outgoing.once('error', () => res.destroy());
  req.pipe(outgoing);
}

async function listen(url: string, answer: (req: IncomingMessage, res: ServerResponse) => void) {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(Number(new URL(url).port), 'localhost', resolve));
  return () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
}
