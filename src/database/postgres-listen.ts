// LISTEN on a connection of its own: notifications reach only the session that asked, and a pool lends its sessions to
// everyone. The first listener opens it; when it is lost it is opened again, after growing pauses.

import pg from 'pg';
import type { Client, ClientConfig } from 'pg';

import { createQueue } from './queue.ts';

const firstPauseMs = 250;
const longestPauseMs = 15_000;

interface Listening {
  listen(channel: string, listener: () => void): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

export function createListening(config: ClientConfig): Listening {
  const inTurn = createQueue(); // `pg` wants one query at a time on a connection
  const listeners = new Map<string, Set<() => void>>();
  let current: Promise<Client> | undefined;
  let pauseMs = firstPauseMs;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function session(): Promise<Client> {
    current ??= connect().catch((error: unknown) => {
      reconnectLater();
      throw error;
    });
    return current;
  }

  async function connect(): Promise<Client> {
    const client = new pg.Client(config);
    client.on('error', () => {}); // 'end' follows, and that is acted upon
    client.on('notification', ({ channel }) => tell(channel));
    await client.connect();
    client.once('end', reconnectLater);
    for (const channel of listeners.keys()) await subscribe(client, channel);
    pauseMs = firstPauseMs;
    return client;
  }

  function reconnectLater(): void {
    current = undefined;
    if (closed) return;
    clearTimeout(timer);
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
      await inTurn(async () => subscribe(await session(), channel));
      return async () => {
        known.delete(listener);
      };
    },

    async close() {
      closed = true;
      clearTimeout(timer);
      const client = await current?.catch(() => undefined);
      await client?.end();
    },
  };
}

async function subscribe(client: Client, channel: string): Promise<void> {
  await client.query(`listen ${client.escapeIdentifier(channel)}`);
}
