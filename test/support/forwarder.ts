// A TCP forwarder that a test can make fail as networks do: connections that go silent without a word, that are cut, or
// that lead to another server from now on.

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Forwarder {
  port: number;
  /** Connections that are open now carry nothing any more, in either direction; nobody is told. New ones do. */
  silence(): void;
  /** The same, and new ones carry nothing either: the host has lost its power. */
  swallow(): void;
  /** The next time that `text` is sent, it arrives, and the connection is cut over its answer. */
  loseAnswerTo(text: string): void;
  /** Connections are cut, and new ones refused, until `resume`. */
  cut(): Promise<void>;
  resume(): Promise<void>;
  /** New connections lead to this port. */
  leadTo(port: number): void;
  connections(): number;
  close(): Promise<void>;
}

export async function startForwarder(target: number): Promise<Forwarder> {
  let leadsTo = target;
  let isSwallowing = false;
  let unanswered: string | undefined;
  const pairs = new Set<[Socket, Socket]>();
  const server = createServer((near) => {
    if (isSwallowing) {
      near.on('error', () => {}).resume();
      return;
    }
    const far = connect(leadsTo, '127.0.0.1');
    const pair: [Socket, Socket] = [near, far];
    pairs.add(pair);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('error', () => {});
      from.on('close', () => {
        pairs.delete(pair);
        to.destroy();
      });
    }
    near.on('data', (sent) => {
      if (unanswered === undefined || !sent.includes(unanswered)) return;
      unanswered = undefined;
      far.unpipe(near);
      far.once('data', () => near.destroy());
    });
    near.pipe(far);
    far.pipe(near);
  });
  const listen = (port: number) =>
    new Promise<void>((resolve) => {
      server.listen(port, '127.0.0.1', resolve);
    });
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const cut = async () => {
    const closed = new Promise((resolve) => {
      server.close(resolve);
    });
    for (const pair of pairs) for (const socket of pair) socket.destroy();
    await closed;
  };

  const silence = () => {
    for (const pair of pairs) {
      const [near, far] = pair;
      for (const socket of [near, far]) {
        socket.unpipe();
        socket.removeAllListeners('data');
        socket.removeAllListeners('close');
        socket.removeAllListeners('end');
        socket.on('data', () => {}).resume(); // read and forgotten
      }
      near.once('close', () => {
        pairs.delete(pair);
        far.destroy();
      });
    }
  };

  return {
    port,
    silence,
    loseAnswerTo: (text) => {
      unanswered = text;
    },
    swallow() {
      isSwallowing = true;
      silence();
    },
    cut,
    resume: () => listen(port),
    leadTo: (next) => {
      leadsTo = next;
    },
    connections: () => pairs.size,
    close: async () => {
      if (server.listening) await cut();
    },
  };
}

/** `url` by way of `forwarder`. */
export function through(
  forwarder: Pick<Forwarder, 'port'>,
  url: string,
  parameters: Record<string, string> = {},
): string {
  const way = new URL(url);
  way.port = String(forwarder.port);
  for (const [name, value] of Object.entries(parameters)) way.searchParams.set(name, value);
  return way.href;
}
