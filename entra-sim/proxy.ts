// An HTTP proxy that tunnels Microsoft's host names to the simulator. It serves products that are told of a proxy, and
// processes that no test can hand a connector: HTTPS_PROXY and NODE_EXTRA_CA_CERTS then do for them.

import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { connect } from 'node:net';

import { hostName, isSimulated } from './hosts.ts';

export interface ProxyOptions {
  /** "user:password" that Proxy-Authorization has to carry. Default: anybody may pass. */
  credentials?: string;
}

export interface Proxy {
  /** http://127.0.0.1:PORT, with the credentials where there are any. */
  readonly url: string;
  /** "host:port" of every tunnel that was asked for, in order, refused ones included. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

export async function startProxy(simulatorPort: number, { credentials }: ProxyOptions = {}): Promise<Proxy> {
  const asked: string[] = [];
  const open = new Set<Socket>();
  const expected = credentials === undefined ? undefined : `Basic ${Buffer.from(credentials).toString('base64')}`;

  // A proxy for https sees no request but CONNECT; anything else is a client that talks plain http to Microsoft.
  const server = createServer((_request, response) => response.writeHead(405).end());
  server.on('connect', (request, client: Socket) => {
    const authority = request.url ?? '';
    asked.push(authority);
    if (expected !== undefined && request.headers['proxy-authorization'] !== expected) {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n');
      return;
    }
    if (!isSimulated(hostName(authority))) {
      client.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      return;
    }

    const upstream = connect(simulatorPort, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      client.pipe(upstream).pipe(client);
    });
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(socket);
      // One end's failure is the other end's, too: a reset by the simulator must arrive as one.
      socket
        .on('error', () => other.resetAndDestroy())
        .on('close', () => {
          open.delete(socket);
          other.end();
        });
    }
  });

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${credentials === undefined ? '' : `${credentials}@`}127.0.0.1:${port}`,
    asked,
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
