// Identities: who the person of an account is to other identity providers. Owns the table identities. An account may
// have several; each of them is one account's, which the primary key keeps. What the attributes of a method mean, entra/
// knows.

import type { Database, Queryable } from '../database/database.ts';
import { AppError } from '../errors.ts';

export type Method = 'entra';

export interface Identity {
  method: Method;
  /** What the other side never gives to anybody else. Of Entra: `entra|{cloud}|{tid}|{oid}`, and never an address. */
  externalId: string;
  accountId: string;
  /** What the other side said at the last sign-in or check. */
  attributes: Record<string, unknown>;
  linkedAt: Date;
  lastSeenAt: Date;
}

type NewIdentity = Pick<Identity, 'method' | 'externalId' | 'accountId' | 'attributes'>;

export interface Identities {
  find(method: Method, externalId: string): Promise<Identity | undefined>;
  /** All of one account. */
  of(accountId: string): Promise<Identity[]>;
  list(method: Method): Promise<Identity[]>;
  /** @throws {AppError} identity_taken (409): it belongs to an account already, perhaps since a moment ago */
  link(tx: Queryable, identity: NewIdentity): Promise<void>;
  seen(tx: Queryable, identity: Pick<NewIdentity, 'method' | 'externalId' | 'attributes'>): Promise<void>;
}

interface Row {
  method: Method;
  external_id: string;
  account_id: string;
  attributes: string;
  linked_at: number;
  last_seen_at: number;
}

const columns = 'method, external_id, account_id, attributes, linked_at, last_seen_at';

export function createIdentities(db: Database, now: () => number = Date.now): Identities {
  return {
    async find(method, externalId) {
      const {
        rows: [row],
      } = await db.query<Row>(`select ${columns} from identities where method = $1 and external_id = $2`, [
        method,
        externalId,
      ]);
      return row && fromRow(row);
    },

    async of(accountId) {
      const { rows } = await db.query<Row>(
        `select ${columns} from identities where account_id = $1 order by linked_at`,
        [accountId],
      );
      return rows.map(fromRow);
    },

    async list(method) {
      const { rows } = await db.query<Row>(
        `select ${columns} from identities where method = $1 order by linked_at, external_id`,
        [method],
      );
      return rows.map(fromRow);
    },

    async link(tx, { method, externalId, accountId, attributes }) {
      const { rowCount } = await tx.query(
        `insert into identities (${columns}) values ($1, $2, $3, $4, $5, $5)
         on conflict (method, external_id) do nothing`,
        [method, externalId, accountId, JSON.stringify(attributes), now()],
      );
      if (rowCount === 0) throw new AppError('identity_taken', 409, 'this identity belongs to an account already');
    },

    async seen(tx, { method, externalId, attributes }) {
      await tx.query(
        'update identities set attributes = $3, last_seen_at = $4 where method = $1 and external_id = $2',
        [method, externalId, JSON.stringify(attributes), now()],
      );
    },
  };
}

function fromRow(row: Row): Identity {
  return {
    method: row.method,
    externalId: row.external_id,
    accountId: row.account_id,
    attributes: JSON.parse(row.attributes) as Record<string, unknown>,
    linkedAt: new Date(row.linked_at),
    lastSeenAt: new Date(row.last_seen_at),
  };
}
