// Places in status lists: who gets which. Owns the tables status_lists and client_statuses. A grant takes one at its
// first save, an application one for all tokens of its own. Places are reserved in blocks, so that taking one writes
// nothing, and each is handed out once in the life of its list: no token can ever bear the place of another.

import { randomBytes, randomInt } from 'node:crypto';
import type { Database, Queryable } from '../database/database.ts';
import { placeOf, placesPerList } from './permutation.ts';

export interface Place {
  list: number;
  idx: number;
}

/** What issued tokens and may be told that they are no longer good: a grant, or an application by itself. */
export interface Bearer {
  /** The first half of the `jti` of every token. */
  grantId: string;
  place: Place;
}

export interface Places {
  /** A place that nobody had. Costs a statement once in `blockPlaces`. */
  take(): Promise<Place>;
  /** What the tokens of an application by itself bear (client_credentials): made once, then from memory. */
  ofClient(clientId: string): Promise<Bearer>;
  /** Has the places of these applications in memory from now on, so that their tokens cost no statement. */
  load(clientIds: readonly string[]): Promise<void>;
  /** Takes the places of applications away, so that they get others; without `clientId`, of all of them. */
  takeFromClients(tx: Queryable, clientId?: string): Promise<Bearer[]>;
  /** Forgets, in memory, those places of applications that are revoked: another process may have taken them away. */
  forget(isRevoked: (place: Place) => boolean): void;
  /**
   * The database forgot which places were given away: no list is gone on with, and the next one has a number and an order
   * that none had before. Within a transaction; `forgetAll` in every process after it.
   */
  beginAnew(tx: Queryable): Promise<void>;
  /** Forgets, in memory, every place that was reserved or taken. */
  forgetAll(): void;
  /** Numbers of the lists there are. */
  lists(): Promise<number[]>;
  /** Drops lists that no living token can name. */
  sweep(now: number, limit: number): Promise<number>;
}

interface PlacesOptions {
  /** Seconds that a token may live, counted from when its bearer took the place. */
  longestBearerLife: number;
  /** Called, and waited for, when a new list was begun: before the first of its places is given away. */
  began?: () => Promise<void>;
  now?: () => number;
}

const blockPlaces = 1024;
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

const bearerOf = ({ grant_id: grantId, list, idx }: ClientRow): Bearer => ({ grantId, place: { list, idx } });

export function createPlaces(db: Database, { longestBearerLife, began, now = Date.now }: PlacesOptions): Places {
  const clients = new Map<string, Bearer>();
  let block: Block | undefined;
  let reserving: Promise<void> | undefined;
  let forgotten = 0;

  async function reserve(): Promise<void> {
    for (;;) {
      const before = forgotten;
      const reserved = await reserveIn(db, now());
      if (before !== forgotten) continue; // of a list that nobody goes on with
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

  async function take(): Promise<Place> {
    for (;;) {
      const current = block;
      if (current && current.next < current.end && now() - current.reservedAt < blockLifeMs) {
        const n = current.next;
        current.next += 1;
        return { list: current.list, idx: placeOf(n, current.seed) };
      }
      reserving ??= reserve().finally(() => {
        reserving = undefined;
      });
      await reserving;
    }
  }

  async function ofClient(clientId: string): Promise<Bearer> {
    const known = clients.get(clientId);
    if (known) return known;
    const { list, idx } = await take();
    // Of several replicas one is first, and all go on with what is stored.
    const {
      rows: [row],
    } = await db.query<ClientRow>(
      `insert into client_statuses (client_id, grant_id, list, idx) values ($1, $2, $3, $4)
       on conflict (client_id) do update set client_id = excluded.client_id returning grant_id, list, idx`,
      [clientId, randomBytes(16).toString('base64url'), list, idx],
    );
    const bearer = bearerOf(row!);
    clients.set(clientId, bearer);
    return bearer;
  }

  return {
    take,
    ofClient,

    async load(clientIds) {
      const { rows } = await db.query<ClientRow & { client_id: string }>(
        'select client_id, grant_id, list, idx from client_statuses',
      );
      for (const row of rows) clients.set(row.client_id, bearerOf(row));
      for (const clientId of clientIds) await ofClient(clientId);
    },

    async takeFromClients(tx, clientId) {
      const { rows } = await tx.query<ClientRow>(
        `delete from client_statuses where client_id = $1 or cast($1 as text) is null returning grant_id, list, idx`,
        [clientId ?? null],
      );
      if (clientId === undefined) clients.clear();
      else clients.delete(clientId);
      return rows.map(bearerOf);
    },

    forget(isRevoked) {
      for (const [clientId, { place }] of clients) if (isRevoked(place)) clients.delete(clientId);
    },

    async beginAnew(tx) {
      await tx.query('update status_lists set filled_at = $1 where filled_at is null', [now()]);
      // Lists may have been begun that this database knows nothing of: the next number is far from theirs.
      await tx.query(
        'insert into status_lists (list, seed, next) select coalesce(max(list), 0) + $1, $2, 0 from status_lists',
        [randomInt(1_000, 1_000_000), newSeed()],
      );
      // What applications have for themselves gets new places as well: which of theirs they bear, nobody knows any more.
      await tx.query('delete from client_statuses');
    },

    forgetAll() {
      forgotten += 1;
      block = undefined;
      clients.clear();
    },

    async lists() {
      const { rows } = await db.query<{ list: number }>('select list from status_lists order by list');
      return rows.map(({ list }) => list);
    },

    async sweep(at, limit) {
      const unused = at - blockLifeMs - longestBearerLife * 1000;
      const { rowCount } = await db.query(
        `delete from status_lists where list in
           (select list from status_lists where filled_at <= $1
              and not exists (select 1 from client_statuses where client_statuses.list = status_lists.list) limit $2)`,
        [unused, limit],
      );
      return rowCount;
    },
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
    [blockPlaces, placesPerList, now],
  );
  return row && { list: row.list, seed: row.seed, next: row.next - blockPlaces, end: row.next };
}
