// LISTEN on a connection of its own: notifications reach only the session that asked, and a pool lends its sessions to
// everyone. The first listener opens it; when it is lost it is opened again, after growing pauses. Behind a pooler
// there is no session to be told: there, the versions of the channels are compared. Either way the connection is asked
// something now and then, so that one that went silent is missed.

import { versions } from './announcements.ts';
import type { Connection, Connections } from './postgres-connections.ts';
import { createQueue } from './queue.ts';

const firstPauseMs = 250;
const longestPauseMs = 15_000;
const heartbeatEveryMs = 5_000;
const pollEveryMs = 1_000;
const answerWithinMs = 3_000;

interface Listening {
  listen(channel: string, listener: () => void): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

export function createListening({ Connection, distrust }: Connections): Listening {
  const inTurn = createQueue(); // `pg` wants one query at a time on a connection
  const listeners = new Map<string, Set<() => void>>();
  let compared: Map<string, number> | undefined;
  let current: Promise<Connection> | undefined;
  let pauseMs = firstPauseMs;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function session(): Promise<Connection> {
    current ??= connect().catch((error: unknown) => {
      reconnectLater();
      throw error;
    });
    return current;
  }

  async function connect(): Promise<Connection> {
    const client = new Connection();
    try {
      client.on('notification', ({ channel }) => tell(channel));
      await client.connect();
      await client.prove();
      for (const channel of listeners.keys()) await subscribe(client, channel);
    } catch (error) {
      void client.end().catch(() => {}); // a standby, say, accepts a connection and refuses LISTEN
      throw error;
    }
    client.once('end', reconnectLater);
    pauseMs = firstPauseMs;
    clearTimeout(timer);
    timer = setTimeout(() => void ask(client), client.pooled ? pollEveryMs : heartbeatEveryMs).unref();
    return client;
  }

  /** What was announced since, and whether anybody is there at all. */
  async function ask(client: Connection): Promise<void> {
    try {
      await inTurn(() => compare(client));
    } catch {
      // Whatever is the matter with this one, others made when it was made may have the same.
      distrust(client);
      void client.end().catch(() => {});
      return;
    }
    if (closed) return;
    timer = setTimeout(() => void ask(client), client.pooled ? pollEveryMs : heartbeatEveryMs).unref();
  }

  async function compare(client: Connection): Promise<void> {
    const { rows } = await client.run<{ channel: string; version: number }>(versions, [], answerWithinMs);
    const known = compared;
    compared = new Map(rows.map(({ channel, version }) => [channel, version]));
    if (!client.pooled || !known) return;
    for (const [channel, version] of compared) if (known.get(channel) !== version) tell(channel);
  }

  function reconnectLater(): void {
    current = undefined;
    clearTimeout(timer);
    if (closed) return;
    timer = setTimeout(reconnect, pauseMs).unref();
    pauseMs = Math.min(pauseMs * 2, longestPauseMs);
  }

  async function reconnect(): Promise<void> {
    try {
      await session();
    } catch {
      return; // still absent, and the next attempt is set: meanwhile the callers' own polling serves
    }
    // What was announced while nobody listened is lost, so everyone looks once.
    for (const channel of listeners.keys()) tell(channel);
  }

  function tell(channel: string): void {
    for (const listener of listeners.get(channel) ?? []) listener();
  }

  return {
    async listen(channel, listener) {
      const known = listeners.get(channel) ?? new Set();
      listeners.set(channel, known.add(listener));
      await inTurn(async () => {
        const client = await session();
        await subscribe(client, channel);
        if (client.pooled && !compared) await compare(client);
      });
      return async () => {
        known.delete(listener);
      };
    },

    async close() {
      closed = true;
      clearTimeout(timer);
      const client = await current?.catch(() => undefined);
      void client?.end().catch(() => {}); // whoever closes all connections waits for it, but not for ever
    },
  };
}

async function subscribe(client: Connection, channel: string): Promise<void> {
  if (!client.pooled) await client.run(`listen ${client.escapeIdentifier(channel)}`, [], answerWithinMs);
}
