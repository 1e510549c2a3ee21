// People. Owns the table accounts. What a password is and how it is checked is signin/password.ts; here it is a hash.
// The id is random and means nothing, so that it can be "sub" for ever: an e-mail address changes hands.

import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Audit, AuditEvent } from './audit.ts';
import type { Database, Queryable, Value } from './database/database.ts';
import { AppError, isAppError } from './errors.ts';

/** What is known of a person beside who they are: each may change, and none identifies anybody. */
export interface Profile {
  email?: string;
  emailVerified: boolean;
  name?: string;
  givenName?: string;
  familyName?: string;
  preferredUsername?: string;
}

export interface Account extends Profile {
  id: string;
  /** Whether the address is what they sign in by here. Then an administrator wrote it. */
  signsInByEmail: boolean;
  /** All of them. */
  roles: readonly string[];
  /** Of these, the ones an administrator gave here. */
  assignedRoles: readonly string[];
  /** And the ones that follow from what another identity provider says (roles.ts). */
  mappedRoles: readonly string[];
  /** bcrypt; absent where the person signs in elsewhere. */
  passwordHash?: string;
  /** A one-time password: good for choosing another one, nothing else. */
  passwordMustChange: boolean;
  disabledAt?: Date;
  /** When they were last signed out everywhere: what was proved before ended with it. */
  signedOutAt?: Date;
  createdAt: Date;
  lastSignInAt?: Date;
}

export type LocalAccount = Account & { email: string };

export interface NewAccount {
  email: string;
  /** Whether an administrator vouches that the address is the person's. */
  emailVerified?: boolean;
  name?: string;
  roles: readonly string[];
  passwordHash?: string;
  passwordMustChange?: boolean;
}

export interface Accounts {
  find(id: string): Promise<Account | undefined>;
  /** The account that signs in by this address. */
  findByEmail(email: string): Promise<Account | undefined>;
  /** Everybody who has this address, also those who sign in elsewhere: for an administrator's eyes. */
  listByEmail(email: string): Promise<Account[]>;
  list(): Promise<Account[]>;
  /** Whether there is anybody. */
  any(): Promise<boolean>;
  create(account: NewAccount, actor: string): Promise<LocalAccount>;
  /** Creates the account only where there is none at all: two servers starting together make one administrator. */
  createFirst(account: NewAccount): Promise<LocalAccount | undefined>;
  /** For somebody who signs in elsewhere. Neither password nor a name to sign in by: see `identities`. */
  createElsewhere(tx: Queryable, profile: Profile, mappedRoles: readonly string[], actor: string): Promise<Account>;
  /** What the other side says now. An address that the person signs in by here stays as it is. */
  updateFromElsewhere(
    tx: Queryable, account: Account, said: Profile, mappedRoles: readonly string[], actor: string,
  ): Promise<Account>;
  /** Who gets a new password is signed out everywhere, in the same transaction: somebody may have known the old one. */
  setPassword(id: string, passwordHash: string, options: { mustChange: boolean; actor: string }): Promise<void>;
  /**
   * The person's own choice in place of the one-time password whose hash is `from`, which signs them out everywhere
   * else. The account as it is then; undefined when that one is no longer the password: used by another sign-in, or
   * replaced by an administrator.
   */
  choosePassword(
    id: string, from: string, to: string, request: Pick<AuditEvent, 'requestId' | 'address'>,
  ): Promise<Account | undefined>;
  /** The same password under another cost; not an event, and only if nobody changed it meanwhile. */
  rehash(id: string, from: string, to: string): Promise<void>;
  /** Vouches that the address is the person's, or takes that back. */
  setEmailVerified(id: string, verified: boolean, actor: string): Promise<void>;
  /**
   * Who is disabled is signed out everywhere, in the same transaction.
   * @throws {AppError} last_administrator
   */
  setDisabled(id: string, disabled: boolean, actor: string): Promise<void>;
  /**
   * Whoever loses a role loses the tokens that say so, in the same transaction; the sign-in at the issuer goes on, so
   * that applications get new ones without a password.
   * @throws {AppError} role_invalid | last_administrator
   */
  setRoles(id: string, roles: readonly string[], actor: string): Promise<void>;
  /** Ends every session and grant of the person; answers how many grants. They may sign in again. */
  signOut(id: string, actor: string, request?: RequestFacts): Promise<number>;
  signedIn(id: string): Promise<void>;
}

type RequestFacts = Pick<AuditEvent, 'clientId' | 'requestId' | 'address'>;

/** What people were issued: the issuer's business, and introduced by server.ts. */
export interface TokensOfPeople {
  /** Ends the grants of a person and, where asked, their sessions, in the given transaction; how many grants. */
  end(tx: Queryable, accountId: string, options: { sessions: boolean }): Promise<number>;
  /** Called after the transaction: everybody who verifies tokens may learn of it. */
  ended(): Promise<void>;
}

const noTokens: TokensOfPeople = { end: async () => 0, ended: async () => {} };

interface Row {
  id: string;
  email: string | null;
  email_key: string | null;
  email_verified: number;
  name: string | null;
  given_name: string | null;
  family_name: string | null;
  preferred_username: string | null;
  roles: string;
  mapped_roles: string;
  password_hash: string | null;
  password_must_change: number;
  disabled_at: number | null;
  signed_out_at: number | null;
  created_at: number;
  last_sign_in_at: number | null;
}

const columns = `id, email, email_key, email_verified, name, given_name, family_name, preferred_username, roles,
  mapped_roles, password_hash, password_must_change, disabled_at, signed_out_at, created_at, last_sign_in_at`;

/** Who has it may administer (admin/authorize.ts). */
export const adminRole = 'admin';

// Roles have no quotes (checkRoles), so this finds the whole name and nothing else; "like" would find "Admin" on SQLite.
const names = (column: string) => `replace(${column}, '"${adminRole}"', '') <> ${column}`;
const isAdministrator = `disabled_at is null and (${names('roles')} or ${names('mapped_roles')})`;
const isNotTheLast = `(not (${isAdministrator})
  or exists (select 1 from (select id from accounts where ${isAdministrator}) others where others.id <> accounts.id))`;

export interface AccountsOptions {
  /** Default: none are issued. */
  tokens?: TokensOfPeople;
  now?: () => number;
}

export function createAccounts(
  db: Database, audit: Audit, { tokens = noTokens, now = Date.now }: AccountsOptions = {},
): Accounts {
  async function one(where: string, value: string): Promise<Account | undefined> {
    const { rows: [row] } = await db.query<Row>(`select ${columns} from accounts where ${where} = $1`, [value]);
    return row && fromRow(row);
  }

  async function insert(account: NewAccount, actor: string, onlyFirst: boolean): Promise<LocalAccount | undefined> {
    const id = randomUUID();
    const email = checkedEmail(account.email);
    checkRoles(account.roles);
    try {
      const made = await db.transaction(async (tx) => {
        const { rows: [row] } = await tx.query<Row>(
          `insert into accounts
             (id, email, email_key, email_verified, name, roles, mapped_roles, password_hash, password_must_change,
              created_at, updated_at)
           select $1, $2, $3, cast($10 as bigint), $4, $5, '[]', $6, cast($7 as bigint), cast($8 as bigint),
             cast($8 as bigint)
           where $9 = 'any' or not exists (select 1 from accounts)
           returning ${columns}`,
          [id, email, emailKey(email), account.name ?? null, JSON.stringify(account.roles),
            account.passwordHash ?? null, account.passwordMustChange ? 1 : 0, now(), onlyFirst ? 'first' : 'any',
            account.emailVerified ? 1 : 0]);
        if (row) await audit.append(tx, { event: 'account.created', actor, subject: id, detail: { roles: account.roles } });
        return row;
      });
      return made && { ...fromRow(made), email };
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

  /** Signs a person out everywhere; how many grants ended. */
  async function endEverything(tx: Queryable, id: string): Promise<number> {
    await tx.query('update accounts set signed_out_at = $2 where id = $1', [id, now()]);
    return tokens.end(tx, id, { sessions: true });
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
      const count = ends === 'nothing' ? 0 : await (ends.sessions ? endEverything(tx, id) : tokens.end(tx, id, ends));
      await audit.append(tx, { ...event, subject: id, detail: { ...event.detail, grantsEnded: count } });
      return count;
    });
    await tokens.ended();
    return grantsEnded;
  }

  /** Before a statement with `isNotTheLast`: of two who disable one another, the second sees what the first did. */
  async function lockAdministrators(tx: Queryable): Promise<void> {
    await tx.query(`update accounts set updated_at = updated_at where ${isAdministrator}`);
  }

  return {
    find: (id) => one('id', id),
    findByEmail: (email) => one('email_key', emailKey(email)),

    async listByEmail(email) {
      const { rows } = await db.query<Row>(
        `select ${columns} from accounts where email_key = $1 or lower(email) = $1 order by created_at`,
        [emailKey(email)]);
      return rows.map(fromRow);
    },

    async list() {
      const { rows } = await db.query<Row>(
        `select ${columns} from accounts order by coalesce(email_key, lower(email), id), created_at`);
      return rows.map(fromRow);
    },

    async any() {
      return (await db.query('select id from accounts limit 1')).rowCount > 0;
    },

    async create(account, actor) {
      return (await insert(account, actor, false))!;
    },

    createFirst: (account) => insert(account, 'signet', true),

    async createElsewhere(tx, profile, mappedRoles, actor) {
      const id = randomUUID();
      const { rows: [row] } = await tx.query<Row>(
        `insert into accounts
           (id, email, email_verified, name, given_name, family_name, preferred_username, roles, mapped_roles,
            password_must_change, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, '[]', $8, 0, $9, $9)
         returning ${columns}`, [id, ...valuesOf(profile), JSON.stringify(mappedRoles), now()]);
      await audit.append(tx, { event: 'account.created', actor, subject: id, detail: { mappedRoles } });
      return fromRow(row!);
    },

    async updateFromElsewhere(tx, account, said, mappedRoles, actor) {
      if (saysTheSame(account, said, mappedRoles)) return account;
      const { rows: [row] } = await tx.query<Row>(
        `update accounts set email = $2, email_verified = $3, name = $4, given_name = $5, family_name = $6,
           preferred_username = $7, mapped_roles = $8, updated_at = $9
         where id = $1 returning ${columns}`,
        [account.id, ...valuesOf(withOwnAddress(account, said)), JSON.stringify(mappedRoles), now()]);
      if (!row) throw new AppError('account_unknown', 404, `there is no account ${account.id}`);
      if (String(mappedRoles) !== String(account.mappedRoles)) {
        const detail = { mappedRoles, before: account.mappedRoles };
        await audit.append(tx, { event: 'account.mapped_roles_set', actor, subject: account.id, detail });
      }
      const changed = fromRow(row);
      const isLess = account.roles.some((role) => !changed.roles.includes(role));
      if (isLess) await tokens.end(tx, account.id, { sessions: false });
      return changed;
    },

    async setPassword(id, passwordHash, { mustChange, actor }) {
      await withdraw(id, { event: 'account.password_set', actor }, async (tx) => {
        const { rowCount } = await tx.query(
          'update accounts set password_hash = $2, password_must_change = $3, updated_at = $4 where id = $1',
          [id, passwordHash, mustChange ? 1 : 0, now()]);
        return rowCount === 1 ? { sessions: true } : undefined;
      });
    },

    async choosePassword(id, from, to, request) {
      const row = await db.transaction(async (tx) => {
        const { rowCount } = await tx.query(
          `update accounts set password_hash = $3, password_must_change = 0, updated_at = $4
           where id = $1 and password_hash = $2`, [id, from, to, now()]);
        if (rowCount === 0) return undefined;
        const detail = { grantsEnded: await endEverything(tx, id) };
        await audit.append(tx, { event: 'account.password_set', actor: id, subject: id, ...request, detail });
        return (await tx.query<Row>(`select ${columns} from accounts where id = $1`, [id])).rows[0];
      });
      if (row) await tokens.ended();
      return row && fromRow(row);
    },

    async rehash(id, from, to) {
      await db.query('update accounts set password_hash = $3 where id = $1 and password_hash = $2', [id, from, to]);
    },

    async setEmailVerified(id, verified, actor) {
      await change(id, { event: 'account.email_verified', actor, detail: { verified } },
        'update accounts set email_verified = $2, updated_at = $3 where id = $1', [verified ? 1 : 0]);
    },

    async setDisabled(id, disabled, actor) {
      const sql = 'update accounts set disabled_at = $2, updated_at = $3 where id = $1';
      if (!disabled) return change(id, { event: 'account.enabled', actor }, sql, [null]);
      await withdraw(id, { event: 'account.disabled', actor }, async (tx) => {
        await lockAdministrators(tx);
        const { rowCount } = await tx.query(`${sql} and ${isNotTheLast}`, [id, now(), now()]);
        if (rowCount === 1) return { sessions: true };
        const { rowCount: known } = await tx.query('select id from accounts where id = $1', [id]);
        if (known === 1) throw lastAdministrator(id);
        return undefined;
      });
    },

    async setRoles(id, roles, actor) {
      checkRoles(roles);
      await withdraw(id, { event: 'account.roles_set', actor, detail: { roles } }, async (tx) => {
        await lockAdministrators(tx);
        // Touched before it is read, so that of two who set roles at once the second reads what the first has set.
        const { rows: [row] } = await tx.query<Row>(
          `update accounts set updated_at = $2 where id = $1 returning ${columns}`, [id, now()]);
        if (!row) return undefined;
        const before = fromRow(row);
        const left = new Set([...roles, ...before.mappedRoles]);
        const { rowCount } = await tx.query(
          `update accounts set roles = $2 where id = $1 and ($3 = 1 or ${isNotTheLast})`,
          [id, JSON.stringify(roles), left.has(adminRole) ? 1 : 0]);
        if (rowCount === 0) throw lastAdministrator(id);
        return before.roles.every((role) => left.has(role)) ? 'nothing' : { sessions: false };
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

function lastAdministrator(id: string): AppError {
  return new AppError('last_administrator', 409, `account ${id} is the only administrator who may sign in`, {
    hint: 'Make somebody else an administrator first: signet accounts roles <who> --set admin.',
  });
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

/** By what a person is best told from others, on a page or a list. */
export function nameOf({ email, preferredUsername, name, id }: Account): string {
  return email ?? preferredUsername ?? name ?? id;
}

/** Whether another identity provider says of the person what is known here already. */
export function saysTheSame(account: Account, said: Profile, mappedRoles: readonly string[]): boolean {
  const now = [...valuesOf(withOwnAddress(account, said)), ...mappedRoles];
  return isDeepStrictEqual(now, [...valuesOf(account), ...account.mappedRoles]);
}

function withOwnAddress({ signsInByEmail, email, emailVerified }: Account, said: Profile): Profile {
  return signsInByEmail ? { ...said, email, emailVerified } : said;
}

function valuesOf({ email, emailVerified, name, givenName, familyName, preferredUsername }: Profile): Value[] {
  const names = [name, givenName, familyName, preferredUsername].map((value) => value ?? null);
  return [email ?? null, emailVerified ? 1 : 0, ...names];
}

function fromRow(row: Row): Account {
  const assignedRoles = JSON.parse(row.roles) as string[];
  const mappedRoles = JSON.parse(row.mapped_roles) as string[];
  return {
    id: row.id,
    emailVerified: row.email_verified === 1,
    signsInByEmail: row.email_key !== null,
    roles: [...new Set([...assignedRoles, ...mappedRoles])],
    assignedRoles,
    mappedRoles,
    passwordMustChange: row.password_must_change === 1,
    createdAt: new Date(row.created_at),
    ...(row.email === null ? {} : { email: row.email }),
    ...(row.name === null ? {} : { name: row.name }),
    ...(row.given_name === null ? {} : { givenName: row.given_name }),
    ...(row.family_name === null ? {} : { familyName: row.family_name }),
    ...(row.preferred_username === null ? {} : { preferredUsername: row.preferred_username }),
    ...(row.password_hash === null ? {} : { passwordHash: row.password_hash }),
    ...(row.disabled_at === null ? {} : { disabledAt: new Date(row.disabled_at) }),
    ...(row.signed_out_at === null ? {} : { signedOutAt: new Date(row.signed_out_at) }),
    ...(row.last_sign_in_at === null ? {} : { lastSignInAt: new Date(row.last_sign_in_at) }),
  };
}
