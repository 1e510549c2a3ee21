// What stands between a server and everybody: it notes what is asked, for one at the issuer's token endpoint, and can
// hold requests back or cut them off, as networks do.

import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Gateway {
  url: string;
  /** Where the issuer listens. */
  issuer: string;
  /** Bodies of token and revocation requests so far, by path. */
  asked: { path: string; body: URLSearchParams }[];
  /** Every request so far. */
  seen: { path: string; headers: IncomingHttpHeaders }[];
  refreshes(): number;
  /** Awaited before a request is passed on, and after its answer is there. */
  before: (path: string) => Promise<void> | void;
  after: (path: string) => Promise<void> | void;
  /** 'cut' ends connections, 'lose' does so once the issuer has answered, a number is answered as status. */
  broken: 'cut' | 'lose' | number | undefined;
  close(): void;
}

export async function startGateway(): Promise<Gateway> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const path = request.url!.split('?')[0]!;
    gateway.seen.push({ path, headers: request.headers });
    if (path.startsWith('/token')) gateway.asked.push({ path, body: new URLSearchParams(body.toString()) });
    if (gateway.broken === 'cut') return void request.socket.destroy();
    if (typeof gateway.broken === 'number') return void response.writeHead(gateway.broken).end('<h1>out of order</h1>');
    await gateway.before(path);
    const { hostname, port } = new URL(gateway.issuer);
    const { method, headers, url } = request;
    const passed = httpRequest({ hostname, port, method, headers, path: url }, async (answer) => {
      await gateway.after(path);
      if (gateway.broken === 'lose') return void request.socket.destroy();
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    passed.on('error', () => response.destroy()).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  const gateway: Gateway = {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    issuer: '',
    asked: [],
    seen: [],
    refreshes: () => gateway.asked.filter(({ body }) => body.get('grant_type') === 'refresh_token').length,
    before: () => {},
    after: () => {},
    broken: undefined,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
  return gateway;
}
