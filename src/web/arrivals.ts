// The arrival of a request. Node reads connections one after the other, and a burst of tabs is read late: what a
// connection asks first was meant when it was opened, whatever was answered to others since.

import type { Server } from 'node:http';
import type { Socket } from 'node:net';

const openings = new WeakMap<Socket, number>();

/** Notes when connections are opened. */
export function watchArrivals(server: Server): void {
  server.on('connection', (socket: Socket) => openings.set(socket, performance.now()));
}

/** Milliseconds since the connection was opened, at its first request; at every later one, 0. */
export function waitedSinceOpening(socket: Socket): number {
  const openedAt = openings.get(socket);
  openings.delete(socket);
  return openedAt === undefined ? 0 : performance.now() - openedAt;
}
