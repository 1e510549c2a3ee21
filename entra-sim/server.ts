// The HTTPS listener: reads a request, lets a fault have its way, otherwise asks the endpoint, and writes the answer
// with the headers that Entra and Graph put on every one.

import { constants } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSecureContext } from 'node:tls';

import { Aadsts, createTrace } from './aadsts.ts';
import { authorize, comingUser, login } from './authorize.ts';
import type { Certificates } from './certificates.ts';
import { adminConsent } from './consent.ts';
import { instanceDiscovery, openidConfiguration, signingKeys } from './discovery.ts';
import type { Exchange, Reply } from './exchange.ts';
import { endpointOf, html, json, percentDecoded } from './exchange.ts';
import type { Fault } from './faults.ts';
import { faultError, faultHeaders, faultReply } from './faults.ts';
import { graph, graphGrant } from './graph.ts';
import { hostName, loginHostOf } from './hosts.ts';
import { logout } from './logout.ts';
import { messagePage } from './pages.ts';
import type { LoggedRequest } from './requests.ts';
import type { Facts } from './rules.ts';
import type { Simulation } from './simulation.ts';
import { token, tokenFacts } from './token.ts';

/** Which certificate a host shows. */
export type TlsMode = 'good' | 'expired' | 'wrong-host' | 'unknown-ca';

interface Listener {
  port: number;
  /** Shows another certificate from the next connection on; open ones are closed. Without a host: everywhere. */
  tls(mode: TlsMode, host?: string): Promise<void>;
  /** Refuses connections, as when the whole of Entra is away. */
  stop(): Promise<void>;
  /** Listens again, on the same port. */
  restart(): Promise<void>;
  /** Stops for good. Rejects if the simulator itself failed meanwhile: that must not pass for a failure of Entra. */
  close(): Promise<void>;
}

/** Until a client in this process has noticed the end of its connections, its next request could still go into one. */
const noticeMs = 10;

/** No request of a sign-in comes near this. */
const bodyLimitBytes = 1_000_000;

export async function listen(sim: Simulation, certificates: Certificates, wantedPort: number): Promise<Listener> {
  const { good, expired, wrongHost, unknownCa } = certificates.tls;
  const pairs = { good, expired, 'wrong-host': wrongHost, 'unknown-ca': unknownCa };
  // Without session tickets every connection shows its certificate again, so that a TLS fault is seen at once.
  const secureOptions = constants.SSL_OP_NO_TICKET;
  const options = ({ certificate, key }: typeof good) => ({ cert: certificate, key, secureOptions });
  const contexts = Object.fromEntries(
    Object.entries(pairs).map(([mode, pair]) => [mode, createSecureContext(options(pair))]),
  ) as Record<TlsMode, ReturnType<typeof createSecureContext>>;
  const modes = new Map<string, TlsMode>();
  const crashes: unknown[] = [];
  const closing = new AbortController();

  const server = createServer({
    ...options(good),
    SNICallback: (name, done) => done(null, contexts[modes.get(name) ?? modes.get('*') ?? 'good']),
  });
  // A reset has to be asked of the TCP socket, which node hides beneath the TLS one; the peer's port tells which it is.
  const tcpSockets = new Map<number, Socket>();
  server.on('connection', (socket: Socket) => {
    const port = socket.remotePort!;
    tcpSockets.set(port, socket);
    socket.on('close', () => tcpSockets.delete(port));
  });
  const reset = (request: IncomingMessage) => tcpSockets.get(request.socket.remotePort!)?.resetAndDestroy();

  server.on('request', (request, response) => {
    serve(sim, request, response, () => reset(request), closing.signal).catch((error: unknown) => {
      if (closing.signal.aborted || request.socket.destroyed) return; // nobody waits for the answer any more
      crashes.push(error);
      response.destroy();
    });
  });

  const open = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, '127.0.0.1', () => {
        server.off('error', reject);
        resolve();
      });
    });
  const stop = async () => {
    const stopped = new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
    server.closeAllConnections();
    await stopped;
    await sleep(noticeMs);
  };

  await open(wantedPort);
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async tls(mode, host = '*') {
      if (mode === 'good' && modes.size === 0) return; // nothing changes, so nobody's connection needs to end
      if (host === '*') modes.clear();
      if (mode !== 'good' || host !== '*') modes.set(host, mode);
      server.closeAllConnections();
      await sleep(noticeMs);
    },
    stop,
    restart: () => open(port),
    async close() {
      closing.abort();
      await stop();
      if (crashes.length > 0) throw new AggregateError(crashes, 'the Entra simulator itself failed: see its errors');
    },
  };
}

async function serve(
  sim: Simulation,
  request: IncomingMessage,
  response: ServerResponse,
  reset: () => void,
  signal: AbortSignal,
): Promise<void> {
  const head = exchangeOf(sim, request, '');
  const log = (exchange: Exchange, facts: Facts, fault: Fault | undefined): LoggedRequest => {
    const { endpoint, method, host, query, form, headers, body } = exchange;
    const sent = { endpoint, method, host, url: request.url!, query, form, headers, body };
    const entry = { ...facts, ...sent, faulty: fault !== undefined, atMs: Date.now() };
    sim.log.add(entry);
    return entry;
  };

  const early = sim.faults.take(head.endpoint, factsOf(sim, head), 'before-read');
  if (early !== undefined) {
    log(head, factsOf(sim, head), early);
    return reset();
  }

  const exchange = exchangeOf(sim, request, await read(request));
  const facts = factsOf(sim, exchange);
  const fault = sim.faults.take(exchange.endpoint, facts, 'after-read') ?? {};
  const entry = log(exchange, facts, Object.keys(fault).length > 0 ? fault : undefined);
  if (fault.reset === 'after-read') return reset();
  if (fault.hang === 'before-headers') return;
  if (fault.delayMs !== undefined) await sleep(fault.delayMs, undefined, { signal });

  const error = faultError(fault);
  const reply =
    error === undefined ? (faultReply(fault) ?? (await answer(sim, exchange))) : errorReply(exchange, error);
  if (fault.reset === 'after-handling') return reset();
  entry.status = reply.status;
  await write(response, withCommonHeaders(sim, exchange, reply, fault), fault, signal);
}

async function answer(sim: Simulation, exchange: Exchange): Promise<Reply> {
  try {
    switch (exchange.endpoint) {
      case 'discovery':
        return openidConfiguration(sim, exchange);
      case 'instance':
        return instanceDiscovery(exchange);
      case 'keys':
        return signingKeys(sim, exchange);
      case 'authorize':
        return authorize(sim, exchange);
      case 'login':
        return login(sim, exchange);
      case 'token':
        return await token(sim, exchange);
      case 'logout':
        return logout(sim, exchange);
      case 'adminconsent':
        return adminConsent(sim, exchange);
      case 'error':
        return html(messagePage('Error', `AADSTS${exchange.query.get('code') ?? ''}`));
      case 'attacker':
        return json({});
      case 'unknown':
        return html(messagePage('Not found', 'There is no such page.'), 404);
      default:
        return graph(sim, exchange);
    }
  } catch (error) {
    if (error instanceof Aadsts) return errorReply(exchange, error);
    throw error;
  }
}

const pages = ['authorize', 'login', 'logout', 'adminconsent'];

function errorReply({ endpoint, trace, loginHost }: Exchange, error: Aadsts): Reply {
  if (!pages.includes(endpoint)) return json(error.toJson(trace, loginHost), error.status);
  return html(messagePage("Sorry, but we're having trouble signing you in.", error.description(trace)), 400);
}

function exchangeOf(sim: Simulation, request: IncomingMessage, body: string): Exchange {
  const authority = request.headers.host ?? 'localhost';
  const host = hostName(authority);
  const url = new URL(`https://${authority}${request.url ?? '/'}`);
  const isForm = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded') ?? false;
  const correlationId = url.searchParams.get('client-request-id') ?? String(request.headers['client-request-id'] ?? '');
  return {
    endpoint: endpointOf(authority, url.pathname),
    method: request.method ?? 'GET',
    host,
    loginHost: loginHostOf(host),
    origin: `https://${authority}`,
    path: url.pathname,
    authority: percentDecoded(url.pathname.split('/')[1] ?? ''),
    query: url.searchParams,
    form: new URLSearchParams(isForm ? body : ''),
    headers: request.headers,
    body,
    cookies: cookiesOf(request.headers.cookie),
    trace: createTrace(sim.clock.now(), correlationId === '' ? undefined : correlationId),
  };
}

function cookiesOf(header = ''): Map<string, string> {
  return new Map(
    header.split(/;\s*/).map((pair): [string, string] => {
      const at = pair.indexOf('=');
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

function factsOf(sim: Simulation, exchange: Exchange): Facts {
  const { endpoint, authority, loginHost, host } = exchange;
  const tenant = sim.directory.find(authority, loginHost)?.key;
  if (endpoint === 'token') return { host, tenant, ...defined(tokenFacts(sim, exchange)) };
  const user = endpoint === 'authorize' ? comingUser(sim, exchange) : graphGrant(sim, exchange)?.user;
  return { host, tenant: tenant ?? user?.tenant.key, user: user?.key };
}

const defined = (facts: Facts): Facts =>
  Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined));

async function read(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > bodyLimitBytes) throw new Error(`a request body of more than ${bodyLimitBytes} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

function withCommonHeaders(sim: Simulation, exchange: Exchange, reply: Reply, fault: Fault): Reply {
  const { endpoint, trace, headers, query } = exchange;
  const wantsId = headers['return-client-request-id'] === 'true' || query.get('return-client-request-id') === 'true';
  return {
    ...reply,
    headers: {
      // Not node's own: clients estimate their clock's error from it, so it must be the simulated time.
      Date: new Date(sim.clock.now()).toUTCString(),
      'x-ms-request-id': trace.traceId,
      'request-id': trace.traceId,
      'x-ms-ests-server': '2.1.0 - simulated',
      ...(wantsId ? { 'client-request-id': trace.correlationId } : {}),
      'Strict-Transport-Security': 'max-age=31536000; includeSubDomains',
      'X-Content-Type-Options': 'nosniff',
      ...(pages.includes(endpoint) ? { 'X-Frame-Options': 'DENY' } : {}),
      ...reply.headers,
      ...faultHeaders(fault),
    },
  };
}

async function write(
  response: ServerResponse,
  reply: Reply,
  { hang, drip }: Fault,
  signal: AbortSignal,
): Promise<void> {
  const body = Buffer.from(reply.body);
  response.sendDate = false;
  response.writeHead(reply.status, { ...reply.headers, 'Content-Length': body.length });
  if (hang === 'after-headers') return response.flushHeaders();
  if (drip === undefined) return void response.end(body);
  for (let at = 0; at < body.length && !response.destroyed; at += drip.bytes ?? 1) {
    response.write(body.subarray(at, at + (drip.bytes ?? 1)));
    await sleep(drip.everyMs, undefined, { signal });
  }
  response.end();
}
