// Allocates indexes of status lists (Token Status List, `idx`). Owns the tables status_lists and client_statuses. A grant
// gets one at its first save, a client one for all tokens of its own. Indexes are reserved in blocks, so that allocating
// one writes nothing. Each is handed out once in the life of its list: no token can ever bear the index of another.

import { randomBytes, randomInt } from 'node:crypto';
import type { Database, Queryable } from '../database/database.ts';
import { deleteOldest } from '../database/rows.ts';
import { indexAt, indexesPerList } from './permutation.ts';

export interface StatusIndex {
  list: number;
  idx: number;
}

/** What issued tokens, whose status may be revoked: a grant, or a client by itself. */
export interface StatusHolder {
  /** The first half of the `jti` of every token. */
  grantId: string;
  index: StatusIndex;
}

export interface StatusIndexes {
  /** An index that nobody had. Costs a statement once in `blockSize`. */
  allocate(): Promise<StatusIndex>;
  /** What the tokens of a client by itself bear (client_credentials): made once, then from memory. */
  ofClient(clientId: string): Promise<StatusHolder>;
  /** Has the indexes of these clients in memory from now on, so that their tokens cost no statement. */
  load(clientIds: readonly string[]): Promise<void>;
  /** Takes the indexes of clients away, so that they get others; without `clientId`, of all of them. */
  releaseClients(tx: Queryable, clientId?: string): Promise<StatusHolder[]>;
  /** Forgets, in memory, those indexes of clients that are revoked: another process may have taken them away. */
  invalidate(isRevoked: (index: StatusIndex) => boolean): void;
  /**
   * The database forgot which indexes were allocated: no list is gone on with, and the next one has a number and an order
   * that none had before. Within a transaction; `invalidateAll` in every process after it.
   */
  beginAnew(tx: Queryable): Promise<void>;
  /** Forgets, in memory, every index that was reserved or allocated. */
  invalidateAll(): void;
  /** Numbers of the lists there are. */
  lists(): Promise<number[]>;
  /** Drops lists that no living token can name. */
  sweep(now: number, limit: number): Promise<number>;
}

interface StatusIndexesOptions {
  /** Seconds that a token may live, counted from when its holder got the index. */
  longestHolderLife: number;
  /** Called, and waited for, when a new list was begun: before the first of its indexes is allocated. */
  began?: () => Promise<void>;
  now?: () => number;
}

const blockSize = 1024;
// What a process reserved and did not hand out within a day is given up, so that a list has an end.
const blockLifeMs = 24 * 3600_000;

const newSeed = () => randomBytes(32).toString('base64url');

interface Block {
  list: number;
  seed: string;
  next: number;
  end: number;
  reservedAt: number;
}

interface ClientRow {
  grant_id: string;
  list: number;
  idx: number;
}

const holderOf = ({ grant_id: grantId, list, idx }: ClientRow): StatusHolder => ({ grantId, index: { list, idx } });

export function createStatusIndexes(
  db: Database,
  { longestHolderLife, began, now = Date.now }: StatusIndexesOptions,
): StatusIndexes {
  const clients = new Map<string, StatusHolder>();
  let block: Block | undefined;
  let reserving: Promise<void> | undefined;
  let invalidations = 0;

  async function reserve(): Promise<void> {
    for (;;) {
      const before = invalidations;
      const reserved = await reserveIn(db, now());
      if (before !== invalidations) continue; // of a list that nobody goes on with
      if (reserved) {
        block = { ...reserved, reservedAt: now() };
        return;
      }
      const { rowCount } = await db.query(
        `insert into status_lists (list, seed, next)
         select coalesce(max(list), 0) + 1, $1, 0 from status_lists
         having coalesce(min(case when filled_at is null then 0 else 1 end), 1) = 1
         on conflict (list) do nothing`,
        [newSeed()],
      );
      if (rowCount === 1) await began?.();
    }
  }

  async function allocate(): Promise<StatusIndex> {
    for (;;) {
      const current = block;
      if (current && current.next < current.end && now() - current.reservedAt < blockLifeMs) {
        const n = current.next;
        current.next += 1;
        return { list: current.list, idx: indexAt(n, current.seed) };
      }
      reserving ??= reserve().finally(() => {
        reserving = undefined;
      });
      await reserving;
    }
  }

  async function ofClient(clientId: string): Promise<StatusHolder> {
    const known = clients.get(clientId);
    if (known) return known;
    const { list, idx } = await allocate();
    // Of several replicas one is first, and all go on with what is stored.
    const {
      rows: [row],
    } = await db.query<ClientRow>(
      `insert into client_statuses (client_id, grant_id, list, idx) values ($1, $2, $3, $4)
       on conflict (client_id) do update set client_id = excluded.client_id returning grant_id, list, idx`,
      [clientId, randomBytes(16).toString('base64url'), list, idx],
    );
    const holder = holderOf(row!);
    clients.set(clientId, holder);
    return holder;
  }

  return {
    allocate,
    ofClient,

    async load(clientIds) {
      const { rows } = await db.query<ClientRow & { client_id: string }>(
        'select client_id, grant_id, list, idx from client_statuses',
      );
      for (const row of rows) clients.set(row.client_id, holderOf(row));
      for (const clientId of clientIds) await ofClient(clientId);
    },

    async releaseClients(tx, clientId) {
      const { rows } = await tx.query<ClientRow>(
        `delete from client_statuses where client_id = $1 or cast($1 as text) is null returning grant_id, list, idx`,
        [clientId ?? null],
      );
      if (clientId === undefined) clients.clear();
      else clients.delete(clientId);
      return rows.map(holderOf);
    },

    invalidate(isRevoked) {
      for (const [clientId, { index }] of clients) if (isRevoked(index)) clients.delete(clientId);
    },

    async beginAnew(tx) {
      await tx.query('update status_lists set filled_at = $1 where filled_at is null', [now()]);
      // Lists may have been begun that this database knows nothing of: the next number is far from theirs.
      await tx.query(
        'insert into status_lists (list, seed, next) select coalesce(max(list), 0) + $1, $2, 0 from status_lists',
        [randomInt(1_000, 1_000_000), newSeed()],
      );
      // What clients have for themselves gets new indexes as well: which of theirs they bear, nobody knows any more.
      await tx.query('delete from client_statuses');
    },

    invalidateAll() {
      invalidations += 1;
      block = undefined;
      clients.clear();
    },

    async lists() {
      const { rows } = await db.query<{ list: number }>('select list from status_lists order by list');
      return rows.map(({ list }) => list);
    },

    sweep: (at, limit) =>
      deleteOldest(
        db,
        {
          from: 'status_lists',
          key: 'list',
          by: 'filled_at',
          where: `filled_at <= $1
            and not exists (select 1 from client_statuses where client_statuses.list = status_lists.list)`,
        },
        [at - blockLifeMs - longestHolderLife * 1000],
        limit,
      ),
  };
}

/** The next block of the list that is being filled; undefined where there is none. */
async function reserveIn(db: Queryable, now: number): Promise<Omit<Block, 'reservedAt'> | undefined> {
  const {
    rows: [row],
  } = await db.query<{ list: number; seed: string; next: number }>(
    `update status_lists set next = next + $1,
       filled_at = case when next + $1 >= cast($2 as bigint) then cast($3 as bigint) else filled_at end
     where filled_at is null returning list, seed, next`,
    [blockSize, indexesPerList, now],
  );
  return row && { list: row.list, seed: row.seed, next: row.next - blockSize, end: row.next };
}
