// Who fetches our JWKS, and who was therefore given a key before it signs (owns the table jwks_consumers). Counted in
// memory and written every few seconds: a fetch costs no query. Names come from strangers, who may invent as many as
// they like, so memory and table hold a bounded number of them, and fewer of each address. One that came once makes
// room for the next; what is beyond is counted under one name, of which nobody can say who it is and what it was given.
//
// Whoever can reach the JWKS can claim to be a service that still needs a key. So what strangers say is hearsay: shown,
// and waited for by nobody. Who comes from a declared network (keys.jwksClientNetworks) is waited for, and has room that
// no stranger takes.

import type { Actor } from '../audit/actor.ts';
import type { Audit } from '../audit/audit.ts';
import type { Database } from '../database/database.ts';
import { deleteOldest, inBatches, insertBatch } from '../database/rows.ts';
import { createWriteBehind } from '../database/write-behind.ts';
import type { Log } from '../log.ts';
import type { Milliseconds } from './lifecycle.ts';

/** One JWKS that was served: in full (200), or confirmed as still current (304). */
interface JwksFetch {
  userAgent: string;
  /** Of the address that it came from, as much as stands for one client; in a declared network, the whole. */
  address: string;
  /** Of the keys that were served, when the newest was prepared: exact even where this replica is behind the others. */
  newestPreparedAt: Milliseconds;
}

export interface JwksClient {
  /** What the verifier says that it is, or what any other client sends as User-Agent. */
  name: string;
  /** service: named by our verifier. client: anything else. others: those that were too many to be told apart. */
  kind: 'service' | 'client' | 'others';
  address: string;
  /** Whether it comes from a declared network; what others say of themselves is hearsay. */
  declared: boolean;
  firstSeenAt: Milliseconds;
  lastSeenAt: Milliseconds;
  fetches: number;
  /** When the newest key that it was given last was prepared. */
  newestPreparedAt: Milliseconds;
}

/** How far a key got. */
interface Readiness {
  /** Those that were given it. */
  seenBy: JwksClient[];
  /** Those that come regularly and were not, and the others, who may be: what the key signs they may refuse. */
  unseenBy: JwksClient[];
  /** Of these, those from declared networks. */
  waitedFor: JwksClient[];
  /** Those that were not, but came once only or stopped coming: nothing says that they still verify anything. */
  silent: JwksClient[];
}

export interface JwksClients {
  /** Counts a fetch. Returns at once and never throws. */
  seen(fetch: JwksFetch): void;
  /** The latest first. What this process counted until now is in it; other replicas' last seconds are not. */
  list(): Promise<JwksClient[]>;
  readiness(key: { preparedAt: Milliseconds }): Promise<Readiness>;
  /**
   * Forgets all of that name, or all hearsay; answers how many. Who comes again is counted anew.
   * @param by who acts, for the audit trail
   */
  forget(name: string | undefined, by: Actor): Promise<number>;
  /** Forgets up to `limit` clients that did not come for 30 days, or came once 2 days ago; answers how many. */
  sweep(now: Milliseconds, limit: number): Promise<number>;
  /** Writes what is still in memory. */
  close(): Promise<void>;
}

export interface JwksClientsOptions {
  now?: () => Milliseconds;
  log: Log;
  /** Default 10 s. */
  flushEveryMs?: number;
  /** How many are told apart. Default 500. */
  atMost?: number;
  /** How many of them at one address, which services may share. Default 20. */
  atMostPerAddress?: number;
  /** Whether an address is in a declared network. Default: none is. */
  isDeclared?: (address: string) => boolean;
  audit?: Pick<Audit, 'append'>;
}

interface Row {
  kind: JwksClient['kind'];
  name: string;
  address: string;
  first_seen_at: number;
  last_seen_at: number;
  fetches: number;
  newest_prepared_at: number;
}

const columns = ['kind', 'name', 'address', 'first_seen_at', 'last_seen_at', 'fetches', 'newest_prepared_at'] as const;
/** As whom a client is counted for whom there is no room. */
const othersLike = ({ declared }: JwksClient) =>
  ({ kind: 'others', name: 'others', address: declared ? declaredOthers : '' }) as const;
const declaredOthers = 'declared networks';
const rowsPerStatement = 64;

const minute = 60_000;
const day = 86_400_000;
const forgetAfter = 30 * day;
const forgetOnceAfter = 2 * day;
const longestSilence = 7 * day;

export function createJwksClients(db: Database, options: JwksClientsOptions): JwksClients {
  const { now = Date.now, log, flushEveryMs = 10_000, atMost = 500, atMostPerAddress = 20 } = options;
  const { isDeclared = () => false, audit } = options;
  let pending = new Map<string, JwksClient>();
  let known = new Map<string, JwksClient>();
  let closed = false;
  const behind = createWriteBehind({
    everyMs: flushEveryMs,
    write,
    failed: (error) => log.warn('jwks.consumers_not_written', { error, waiting: pending.size }),
  });

  async function write(): Promise<void> {
    const batch = pending;
    if (batch.size === 0) return;
    pending = new Map();
    try {
      if ([...batch.keys()].some((id) => !known.has(id))) {
        known = new Map((await readAll()).map((client) => [idOf(client), client]));
      }
      const { rows, leaving } = admitted(batch);
      await forget(db, leaving);
      for (const batch of inBatches(rows.map(toRow), rowsPerStatement)) await insertBatch(db, upsert, batch);
    } catch (error) {
      for (const client of batch.values()) count(client);
      throw error;
    }
  }

  /** Those that have a row, and new ones as long as there is room or somebody makes it; the rest as one. */
  function admitted(batch: ReadonlyMap<string, JwksClient>): { rows: JwksClient[]; leaving: JwksClient[] } {
    const rows = new Map<string, JwksClient>();
    const leaving: JwksClient[] = [];
    const cameOnce = [...known]
      .filter(([id, { kind, fetches }]) => kind !== 'others' && fetches === 1 && !batch.has(id))
      .map(([, client]) => client)
      .sort((one, other) => one.lastSeenAt - other.lastSeenAt);
    for (const [id, client] of batch) {
      const crowd = known.has(id) ? undefined : crowdAround(client, known);
      const first = crowd && cameOnce.find((one) => crowd.includes(one) && !leaving.includes(one));
      if (first) {
        leaving.push(first);
        known.delete(idOf(first));
        add(rows, { ...first, ...othersLike(first) });
      }
      const isAdmitted = !crowd || first !== undefined;
      if (isAdmitted) known.set(id, client);
      add(rows, isAdmitted ? client : { ...client, ...othersLike(client) });
    }
    return { rows: [...rows.values()], leaving };
  }

  function count(client: JwksClient): void {
    const id = idOf(client);
    const isNamed = pending.has(id) || known.has(id) || !crowdAround(client, pending);
    add(pending, isNamed ? client : { ...client, ...othersLike(client) });
  }

  /** Who takes the room that a new one would need: those at its address, or all of its sort. Undefined: there is room. */
  function crowdAround(
    { kind, address, declared }: JwksClient,
    present: ReadonlyMap<string, JwksClient>,
  ): JwksClient[] | undefined {
    if (kind === 'others') return undefined;
    const all = [...present.values()].filter((one) => one.kind !== 'others' && one.declared === declared);
    const neighbours = all.filter((one) => one.address === address);
    if (neighbours.length >= atMostPerAddress) return neighbours;
    return all.length >= atMost ? all : undefined;
  }

  async function list(): Promise<JwksClient[]> {
    await behind.settled();
    return readAll();
  }

  async function readAll(): Promise<JwksClient[]> {
    return (await listRows(db)).map((row) => ({
      ...fromRow(row),
      declared: row.kind === 'others' ? row.address === declaredOthers : isDeclared(row.address),
    }));
  }

  return {
    seen({ userAgent, address, newestPreparedAt }) {
      if (closed) return;
      const at = now();
      count({
        ...nameOf(userAgent),
        address,
        declared: isDeclared(address),
        firstSeenAt: at,
        lastSeenAt: at,
        fetches: 1,
        newestPreparedAt,
      });
      behind.soon();
    },

    list,

    async readiness({ preparedAt }) {
      const at = now();
      const readiness: Readiness = { seenBy: [], unseenBy: [], waitedFor: [], silent: [] };
      for (const client of await list()) {
        const hasIt = client.kind !== 'others' && client.newestPreparedAt >= preparedAt;
        if (hasIt) readiness.seenBy.push(client);
        else if (isRegular(client, at)) readiness.unseenBy.push(client);
        else readiness.silent.push(client);
      }
      readiness.waitedFor = readiness.unseenBy.filter(({ declared }) => declared);
      return readiness;
    },

    async forget(name, by) {
      const all = await list();
      const forgotten = all.filter((client) => (name === undefined ? !client.declared : client.name === name));
      if (forgotten.length === 0) return 0;
      await db.transaction(async (tx) => {
        for (const { kind, name: itsName, address } of forgotten) {
          await tx.query('delete from jwks_consumers where kind = $1 and name = $2 and address = $3', [
            kind,
            itsName,
            address,
          ]);
        }
        const detail = { name, forgotten: forgotten.length };
        const { actor, clientId, requestId, address } = by;
        await audit?.append(tx, { event: 'key.clients_forgotten', actor, clientId, requestId, address, detail });
      });
      known = new Map();
      return forgotten.length;
    },

    sweep: (at, limit) =>
      deleteOldest(
        db,
        {
          from: 'jwks_consumers',
          key: 'kind, name, address',
          by: 'last_seen_at',
          where: '(last_seen_at < $1 or (fetches = 1 and last_seen_at < $2))',
        },
        [at - forgetAfter, at - forgetOnceAfter],
        limit,
      ),

    async close() {
      closed = true;
      await behind.close();
    },
  };
}

/**
 * Whether a client still verifies, as far as fetching tells: it came back at least once, and has not been silent for
 * twice its own pace. The shortest silence that counts is 25 hours, since the slowest usual caches fetch once a day;
 * the longest is 7 days. An instance that was replaced, or somebody's look at the JWKS, must not hold a rotation up.
 * Of the others nothing is known, so the longest counts for them, whatever each of them does.
 */
export function isRegular({ kind, firstSeenAt, lastSeenAt, fetches }: JwksClient, now: Milliseconds): boolean {
  if (kind === 'others') return now - lastSeenAt <= longestSilence;
  if (lastSeenAt - firstSeenAt < minute) return false;
  const pace = (lastSeenAt - firstSeenAt) / (fetches - 1);
  return now - lastSeenAt <= Math.min(Math.max(2 * pace, 25 * 60 * minute), longestSilence);
}

/** "orders (10.0.0.7)": for a list of who would break. */
export function describeJwksClient({ name, address }: Pick<JwksClient, 'name' | 'address'>): string {
  return address === '' ? name : `${name} (${address})`;
}

/** How our verifier introduces itself: see `service` in verifier/verifier.ts. */
const verifierAgent = /^signet-verifier\/[\w.+-]{1,40} \(([^()]{1,100})\)$/;

function nameOf(userAgent: string): Pick<JwksClient, 'kind' | 'name'> {
  // A header may hold any byte. What is kept is printable, and short enough to be shown in a table.
  const clean = userAgent.replace(/[^\x20-\x7e]/g, '?').trim();
  const service = verifierAgent.exec(clean)?.[1];
  if (service !== undefined) return { kind: 'service', name: service };
  return { kind: 'client', name: clean.slice(0, 100).trim() || 'unnamed' };
}

function add(to: Map<string, JwksClient>, client: JwksClient): void {
  const before = to.get(idOf(client)) ?? { ...client, fetches: 0 };
  const latest = client.lastSeenAt >= before.lastSeenAt ? client : before;
  to.set(idOf(client), {
    ...latest,
    firstSeenAt: Math.min(before.firstSeenAt, client.firstSeenAt),
    fetches: before.fetches + client.fetches,
  });
}

/** Those of them that did not come again meanwhile, at another replica. */
async function forget(db: Database, clients: JwksClient[]): Promise<void> {
  for (const { kind, name, address } of clients) {
    await db.query('delete from jwks_consumers where kind = $1 and name = $2 and address = $3 and fetches = 1', [
      kind,
      name,
      address,
    ]);
  }
}

// The latest answer counts, not the newest keys: who was sent to a replica that is behind has the older keys now.
const upsert = {
  into: 'jwks_consumers',
  columns,
  onConflict: `(kind, name, address) do update set
    fetches = jwks_consumers.fetches + excluded.fetches,
    first_seen_at = case when excluded.first_seen_at < jwks_consumers.first_seen_at
      then excluded.first_seen_at else jwks_consumers.first_seen_at end,
    newest_prepared_at = case when excluded.last_seen_at >= jwks_consumers.last_seen_at
      then excluded.newest_prepared_at else jwks_consumers.newest_prepared_at end,
    last_seen_at = case when excluded.last_seen_at > jwks_consumers.last_seen_at
      then excluded.last_seen_at else jwks_consumers.last_seen_at end`,
};

async function listRows(db: Database): Promise<Row[]> {
  const { rows } = await db.query<Row>(
    `select ${columns.join(', ')} from jwks_consumers order by last_seen_at desc, kind, name, address`,
  );
  return rows;
}

function idOf({ kind, name, address }: Pick<JwksClient, 'kind' | 'name' | 'address'>): string {
  return JSON.stringify([kind, name, address]);
}

function toRow({ kind, name, address, firstSeenAt, lastSeenAt, fetches, newestPreparedAt }: JwksClient): Row {
  return {
    kind,
    name,
    address,
    fetches,
    first_seen_at: firstSeenAt,
    last_seen_at: lastSeenAt,
    newest_prepared_at: newestPreparedAt,
  };
}

function fromRow(row: Row): Omit<JwksClient, 'declared'> {
  const { kind, name, address, fetches } = row;
  return {
    kind,
    name,
    address,
    fetches,
    firstSeenAt: row.first_seen_at,
    lastSeenAt: row.last_seen_at,
    newestPreparedAt: row.newest_prepared_at,
  };
}
