// A load balancer in front of the servers, as small as one can be: it spreads requests over them in turn and asks the
// next one where a connection is refused, or breaks off during a GET (RFC 9110 §9.2.2). It repeats no POST that a
// server may have begun; there the client's connection is cut, as when a machine dies. It can also make the JWKS fail.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { Agent, createServer, request as send } from 'node:http';
import { buffer } from 'node:stream/consumers';

export interface Balancer {
  /** How many answers of each status were passed on; what it invents itself (`jwksFailures`) is not among them. */
  statuses: Map<number, number>;
  /** Server errors, each with its request. */
  serverErrors: string[];
  /** Clients whose connection was cut because the server that had their request died. */
  cut: number;
  jwksFailures: number;
  /** Resolves when the JWKS was next given to somebody whose User-Agent starts so. */
  jwksGivenTo(userAgent: string): Promise<void>;
  /** From now on and for so long, whoever asks for the JWKS hears 503 or nothing at all, in turn. */
  failJwks(ms: number): void;
  close(): Promise<void>;
}

export async function startBalancer(port: number, servers: readonly number[]): Promise<Balancer> {
  const agent = new Agent({ keepAlive: false }); // a connection that is refused, not one that went stale, says "dead"
  const waiting: { userAgent: string; resolve: () => void }[] = [];
  let turn = 0;
  let jwksFailsUntil = 0;

  async function handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (req.url === '/jwks' && Date.now() < jwksFailsUntil) return failJwks(res);
    const body = await buffer(req);
    const first = (turn += 1); // others take their turn while we wait
    // Twice around: the one that was down when it was asked may be up again, and the other one down.
    for (let tries = 0; tries < 2 * servers.length; tries += 1) {
      const outcome = await relay(servers[(first + tries) % servers.length]!, req, body, res);
      if (outcome === 'done') return;
      if (outcome === 'refused' || req.method === 'GET') continue;
      balancer.cut += 1;
      res.destroy();
      return;
    }
    balancer.serverErrors.push(`no server for ${req.method} ${req.url}`);
    res.writeHead(502).end();
  }

  type Outcome = 'done' | 'refused' | 'cut';

  function relay(to: number, req: IncomingMessage, body: Buffer, res: ServerResponse): Promise<Outcome> {
    return new Promise((resolve) => {
      const failed = (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED' ? 'refused' : 'cut');
      const { method, url: path } = req;
      const headers = { ...req.headers, connection: 'close' };
      const onward = send({ host: '127.0.0.1', port: to, method, path, agent, headers });
      onward.once('error', failed);
      onward.once('response', (answer) => {
        buffer(answer).then((content) => {
          const status = answer.statusCode!;
          const { connection: _hop, 'transfer-encoding': _coding, ...passedOn } = answer.headers;
          balancer.statuses.set(status, (balancer.statuses.get(status) ?? 0) + 1);
          if (status >= 500) balancer.serverErrors.push(`${status} ${method} ${path?.split('?')[0]} ${content}`);
          res.writeHead(status, passedOn).end(content);
          if (path === '/jwks') tellWhoWaits(req.headers['user-agent'] ?? '');
          resolve('done');
        }, failed);
      });
      onward.end(body);
    });
  }

  function tellWhoWaits(by: string): void {
    for (const { userAgent, resolve } of waiting) if (by.startsWith(userAgent)) resolve();
  }

  function failJwks(res: ServerResponse): void {
    balancer.jwksFailures += 1;
    if (balancer.jwksFailures % 2 === 0) res.destroy();
    else res.writeHead(503).end();
  }

  const server = createServer((req, res) => void handle(req, res).catch(() => res.destroy())); // the client went away
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const balancer: Balancer = {
    statuses: new Map(),
    serverErrors: [],
    cut: 0,
    jwksFailures: 0,
    jwksGivenTo: (userAgent) => new Promise((resolve) => waiting.push({ userAgent, resolve })),
    failJwks: (ms) => {
      jwksFailsUntil = Date.now() + ms;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return balancer;
}
