// Limits connections: how long one may take for a request, and how many there may be, of one network and in all. Who
// sends half a request and waits, or asks and never reads, holds a socket and some memory, and no more than these.

import { createServer, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Log } from '../log.ts';
import { networkOf, parseAddress } from './address.ts';

interface ConnectionLimits {
  /** Seconds from the first byte of a request, or from its connection, to its last. */
  requestTimeout: number;
  maxConnections: number;
  maxConnectionsPerAddress: number;
}

interface LimitedServerParts {
  limits: ConnectionLimits;
  /** How many processes serve this port: each has its share of the connections. Default 1. */
  workers?: number;
  /** Whether many people come from this address: then only the sum counts. */
  isProxy: (address: string) => boolean;
  log: Log;
}

const checkEveryMs = 5_000;
const tellEveryMs = 60_000;

/** An HTTP server whose connections are limited; not listening yet. */
export function createLimitedServer(
  listener: RequestListener,
  { limits, workers = 1, isProxy, log }: LimitedServerParts,
): Server {
  const [most, mostOfNetwork] = [limits.maxConnections, limits.maxConnectionsPerAddress].map((limit) =>
    Math.max(1, Math.floor(limit / workers)),
  ) as [number, number];
  const requestTimeout = limits.requestTimeout * 1000;
  const server = createServer(
    {
      // A `state` of 8 kB is three times as long where it is percent-encoded, and more than that is to be told.
      maxHeaderSize: 32_768,
      requestTimeout,
      headersTimeout: requestTimeout,
      connectionsCheckingInterval: Math.min(checkEveryMs, requestTimeout / 2),
    },
    listener,
  );
  // Nothing read and nothing written: an answer that its asker does not take. Longer than any request is worked on.
  server.setTimeout(4 * requestTimeout);
  server.maxConnections = most;
  // A worker that is full would hand connections on, and where all are full they would go round for ever.
  Object.assign(server, { dropMaxConnection: workers > 1 });
  const dropped = tellDropped(log);
  server.on('drop', () => dropped('listen.maxConnections'));

  const open = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const network = countedFor(socket, isProxy);
    if (network === undefined) return;
    const others = open.get(network) ?? 0;
    if (others >= mostOfNetwork) {
      dropped('listen.maxConnectionsPerAddress');
      socket.destroy();
      return;
    }
    open.set(network, others + 1);
    socket.once('close', () => {
      const left = (open.get(network) ?? 1) - 1;
      if (left === 0) open.delete(network);
      else open.set(network, left);
    });
  });
  return server;
}

function countedFor({ remoteAddress = '' }: Socket, isProxy: LimitedServerParts['isProxy']): string | undefined {
  const peer = parseAddress(remoteAddress);
  return peer === undefined || isProxy(peer) ? undefined : networkOf(peer);
}

/** One line a minute, however many there were. */
function tellDropped(log: Log): (limit: string) => void {
  let toldAt = 0;
  let times = 0;
  return (limit) => {
    times += 1;
    if (Date.now() - toldAt < tellEveryMs) return;
    log.warn('http.connections_dropped', { limit, times });
    toldAt = Date.now();
    times = 0;
  };
}
