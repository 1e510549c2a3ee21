// Requests at the same moment, as far as a server can tell: their connections are all open before the first is sent.
// Requests that open their own come one after the other on a busy machine, and the last may be a late repetition.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Agent, type Dispatcher } from 'undici';

/** One request for each of `urls`, in their order, each sent through the dispatcher that it is given. */
export async function atTheSameMoment<T>(
  urls: string[],
  send: (url: string, dispatcher: Dispatcher) => Promise<T>,
): Promise<T[]> {
  const sockets = await Promise.all(urls.map(open));
  // A server takes connections in their order, so whoever has answered a later one has taken those.
  for (const url of new Set(urls)) {
    const later = await open(url);
    later.write('GET /health/live HTTP/1.0\r\n\r\n');
    await once(later.resume(), 'close');
  }
  const agents = sockets.map(
    (socket) => new Agent({ connect: (_options, callback) => void setImmediate(callback, null, socket) }),
  );
  try {
    return await Promise.all(agents.map((agent, position) => send(urls[position]!, agent)));
  } finally {
    await Promise.all(agents.map((agent) => agent.close()));
  }
}

async function open(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  await once(socket, 'connect');
  return socket;
}
