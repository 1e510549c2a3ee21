// A server on its port: what a port that cannot be had is told as, and an end that lets answers go out.

import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AppError } from '../errors.ts';

const stopWithinMs = 10_000;
// Longer than proxies keep a connection that nobody uses (nginx 60 s, Caddy 2 min), so that it is not closed here just
// as one sends the next request on it.
const keepAliveMs = 150_000;
const lookForIdleEveryMs = 50;

/**
 * @param hint what to do where the port is taken
 * @throws {AppError} listen_failed
 */
export async function listen(
  server: Server,
  { host, port }: { host: string; port: number },
  hint: string,
): Promise<void> {
  server.keepAliveTimeout = keepAliveMs;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const reason = cause.code === 'EADDRINUSE' ? 'is in use by another process' : `cannot be used (${cause.code})`;
      reject(new AppError('listen_failed', 500, `port ${port} on ${host} ${reason}`, { cause, hint }));
    });
    server.listen(port, host, resolve);
  });
}

export async function stopListening(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  // A connection that was busy a moment ago is idle after its answer, and its client would keep it open.
  const idle = setInterval(() => server.closeIdleConnections(), lookForIdleEveryMs);
  const late = setTimeout(() => server.closeAllConnections(), stopWithinMs);
  await closed;
  clearInterval(idle);
  clearTimeout(late);
}

/** Where it listens: http://host:port. */
export function urlOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
