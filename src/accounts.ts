// People. Owns the table accounts. What a password is and how it is checked is signin/password.ts; here it is a hash.
// The id is random and means nothing, so that it can be "sub" for ever: an e-mail address changes hands.

import { randomUUID } from 'node:crypto';
import type { Audit, AuditEvent } from './audit.ts';
import type { Database, Queryable } from './database/database.ts';
import { AppError, isAppError } from './errors.ts';

export interface Account {
  id: string;
  email: string;
  name?: string;
  roles: readonly string[];
  /** bcrypt; absent where the person signs in elsewhere. */
  passwordHash?: string;
  /** A one-time password: good for choosing another one, nothing else. */
  passwordMustChange: boolean;
  disabledAt?: Date;
  createdAt: Date;
  lastSignInAt?: Date;
}

export interface NewAccount {
  email: string;
  name?: string;
  roles: readonly string[];
  passwordHash?: string;
  passwordMustChange?: boolean;
}

export interface Accounts {
  find(id: string): Promise<Account | undefined>;
  findByEmail(email: string): Promise<Account | undefined>;
  list(): Promise<Account[]>;
  create(account: NewAccount, actor: string): Promise<Account>;
  /** Creates the account only where there is none at all: two servers starting together make one administrator. */
  createFirst(account: NewAccount): Promise<Account | undefined>;
  setPassword(id: string, passwordHash: string, options: { mustChange: boolean; actor: string }): Promise<void>;
  /**
   * The person's own choice in place of the one-time password whose hash is `from`. False when that one is no longer
   * the password: used by another sign-in, or replaced by an administrator.
   */
  choosePassword(
    id: string, from: string, to: string, request: Pick<AuditEvent, 'requestId' | 'address'>,
  ): Promise<boolean>;
  /** The same password under another cost; not an event, and only if nobody changed it meanwhile. */
  rehash(id: string, from: string, to: string): Promise<void>;
  /** Who is disabled is signed out everywhere, in the same transaction. */
  setDisabled(id: string, disabled: boolean, actor: string): Promise<void>;
  /**
   * Whoever loses a role loses the tokens that say so, in the same transaction; the sign-in at the issuer goes on, so
   * that applications get new ones without a password.
   * @throws {AppError} role_invalid
   */
  setRoles(id: string, roles: readonly string[], actor: string): Promise<void>;
  /** Ends every session and grant of the person; answers how many grants. They may sign in again. */
  signOut(id: string, actor: string, request?: Pick<AuditEvent, 'clientId' | 'requestId' | 'address'>): Promise<number>;
  signedIn(id: string): Promise<void>;
}

/** What people were issued: the issuer's business, and introduced by server.ts. */
export interface TokensOfPeople {
  /** Ends the grants of a person and, where asked, their sessions, in the given transaction; how many grants. */
  end(tx: Queryable, accountId: string, options: { sessions: boolean }): Promise<number>;
  /** Called after the transaction: everybody who verifies tokens may learn of it. */
  ended(): Promise<void>;
}

export interface AccountsOptions {
  /** Default: none are issued. */
  tokens?: TokensOfPeople;
  now?: () => number;
}

const noTokens: TokensOfPeople = { end: async () => 0, ended: async () => {} };

interface Row {
  id: string;
  email: string;
  name: string | null;
  roles: string;
  password_hash: string | null;
  password_must_change: number;
  disabled_at: number | null;
  created_at: number;
  last_sign_in_at: number | null;
}

const columns = `id, email, name, roles, password_hash, password_must_change, disabled_at, created_at, last_sign_in_at`;

export function createAccounts(
  db: Database, audit: Audit, { tokens = noTokens, now = Date.now }: AccountsOptions = {},
): Accounts {
  async function one(where: string, value: string): Promise<Account | undefined> {
    const { rows: [row] } = await db.query<Row>(`select ${columns} from accounts where ${where} = $1`, [value]);
    return row && fromRow(row);
  }

  async function insert(account: NewAccount, actor: string, onlyFirst: boolean): Promise<Account | undefined> {
    const id = randomUUID();
    const email = checkedEmail(account.email);
    checkRoles(account.roles);
    try {
      const made = await db.transaction(async (tx) => {
        const { rows: [row] } = await tx.query<Row>(
          `insert into accounts
             (id, email, email_key, name, roles, password_hash, password_must_change, created_at, updated_at)
           select $1, $2, $3, $4, $5, $6, cast($7 as bigint), cast($8 as bigint), cast($8 as bigint)
           where $9 = 'any' or not exists (select 1 from accounts)
           returning ${columns}`,
          [id, email, emailKey(email), account.name ?? null, JSON.stringify(account.roles),
            account.passwordHash ?? null, account.passwordMustChange ? 1 : 0, now(), onlyFirst ? 'first' : 'any']);
        if (row) await audit.append(tx, { event: 'account.created', actor, subject: id, detail: { roles: account.roles } });
        return row;
      });
      return made && fromRow(made);
    } catch (error) {
      if (!isAppError(error, 'unique_violation')) throw error;
      if (onlyFirst) return undefined;
      throw new AppError('account_exists', 409, `an account with the e-mail address ${email} exists already`, {
        cause: error, hint: 'signet accounts list shows them all.',
      });
    }
  }

  async function change(
    id: string, event: Pick<AuditEvent, 'event' | 'actor' | 'detail'>, sql: string, values: (string | number | null)[],
  ) {
    await db.transaction(async (tx) => {
      const { rowCount } = await tx.query(sql, [id, ...values, now()]);
      if (rowCount === 0) throw unknownAccount(id);
      await audit.append(tx, { ...event, subject: id });
    });
  }

  /**
   * An act that takes something away from a person, and the tokens that show it. `act` says which tokens end with it;
   * undefined: there is no such account. Answers how many grants ended.
   */
  async function withdraw(
    id: string, event: Omit<AuditEvent, 'subject'>,
    act: (tx: Queryable) => Promise<{ sessions: boolean } | 'nothing' | undefined>,
  ): Promise<number> {
    const grantsEnded = await db.transaction(async (tx) => {
      const ends = await act(tx);
      if (ends === undefined) throw unknownAccount(id);
      const count = ends === 'nothing' ? 0 : await tokens.end(tx, id, ends);
      await audit.append(tx, { ...event, subject: id, detail: { ...event.detail, grantsEnded: count } });
      return count;
    });
    await tokens.ended();
    return grantsEnded;
  }

  return {
    find: (id) => one('id', id),
    findByEmail: (email) => one('email_key', emailKey(email)),

    async list() {
      const { rows } = await db.query<Row>(`select ${columns} from accounts order by email_key`);
      return rows.map(fromRow);
    },

    async create(account, actor) {
      return (await insert(account, actor, false))!;
    },

    createFirst: (account) => insert(account, 'signet', true),

    async setPassword(id, passwordHash, { mustChange, actor }) {
      await change(id, { event: 'account.password_set', actor },
        'update accounts set password_hash = $2, password_must_change = $3, updated_at = $4 where id = $1',
        [passwordHash, mustChange ? 1 : 0]);
    },

    async choosePassword(id, from, to, request) {
      return db.transaction(async (tx) => {
        const { rowCount } = await tx.query(
          `update accounts set password_hash = $3, password_must_change = 0, updated_at = $4
           where id = $1 and password_hash = $2`, [id, from, to, now()]);
        if (rowCount === 0) return false;
        await audit.append(tx, { event: 'account.password_set', actor: id, subject: id, ...request });
        return true;
      });
    },

    async rehash(id, from, to) {
      await db.query('update accounts set password_hash = $3 where id = $1 and password_hash = $2', [id, from, to]);
    },

    async setDisabled(id, disabled, actor) {
      const sql = 'update accounts set disabled_at = $2, updated_at = $3 where id = $1';
      if (!disabled) return change(id, { event: 'account.enabled', actor }, sql, [null]);
      await withdraw(id, { event: 'account.disabled', actor }, async (tx) => {
        const { rowCount } = await tx.query(sql, [id, now(), now()]);
        return rowCount === 1 ? { sessions: true } : undefined;
      });
    },

    async setRoles(id, roles, actor) {
      checkRoles(roles);
      await withdraw(id, { event: 'account.roles_set', actor, detail: { roles } }, async (tx) => {
        // Touched before it is read, so that of two who set roles at once the second reads what the first has set.
        const { rows: [row] } = await tx.query<Row>(
          `update accounts set updated_at = $2 where id = $1 returning ${columns}`, [id, now()]);
        if (!row) return undefined;
        await tx.query('update accounts set roles = $2 where id = $1', [id, JSON.stringify(roles)]);
        return fromRow(row).roles.every((role) => roles.includes(role)) ? 'nothing' : { sessions: false };
      });
    },

    signOut: (id, actor, request) => withdraw(id, { event: 'account.signed_out', actor, ...request }, async (tx) => {
      const { rowCount } = await tx.query('update accounts set updated_at = $2 where id = $1', [id, now()]);
      return rowCount === 1 ? { sessions: true } : undefined;
    }),

    async signedIn(id) {
      await db.query('update accounts set last_sign_in_at = $2 where id = $1', [id, now()]);
    },
  };
}

/** Equal for two spellings of one mailbox as people mean it: letter case and Unicode form aside. */
export function emailKey(email: string): string {
  return email.trim().normalize('NFKC').toLowerCase();
}

function unknownAccount(id: string): AppError {
  return new AppError('account_unknown', 404, `there is no account ${id}`);
}

function checkedEmail(email: string): string {
  const trimmed = email.trim();
  if (trimmed.length <= 254 && /^[^\s@<>"']+@[^\s@<>"']+$/u.test(trimmed)) return trimmed;
  throw new AppError('email_invalid', 400, `${JSON.stringify(email.slice(0, 80))} is not an e-mail address`);
}

function checkRoles(roles: readonly string[]): void {
  const wrong = roles.find((role) => !/^[\w.:/-]{1,64}$/.test(role));
  if (wrong === undefined) return;
  const shown = JSON.stringify(wrong.slice(0, 80));
  throw new AppError('role_invalid', 400, `${shown} is not a role: 1 to 64 letters, digits or . _ : / -`);
}

function fromRow(row: Row): Account {
  return {
    id: row.id,
    email: row.email,
    roles: JSON.parse(row.roles) as string[],
    passwordMustChange: row.password_must_change === 1,
    createdAt: new Date(row.created_at),
    ...(row.name === null ? {} : { name: row.name }),
    ...(row.password_hash === null ? {} : { passwordHash: row.password_hash }),
    ...(row.disabled_at === null ? {} : { disabledAt: new Date(row.disabled_at) }),
    ...(row.last_sign_in_at === null ? {} : { lastSignInAt: new Date(row.last_sign_in_at) }),
  };
}
