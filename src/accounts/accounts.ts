// Accounts, one for each person. Owns the table accounts. What a password is and how it is checked is signin/password.ts;
// here it is a hash. The id is random and means nothing, so that it can be "sub" for ever: an e-mail address changes hands.
// One account is account.ts; what takes access away from it, access.ts.

import { randomUUID } from 'node:crypto';
import type { Audit } from '../audit/audit.ts';
import type { AuditEvent } from '../audit/events.ts';
import { type Database, type Queryable, theRow } from '../database/database.ts';
import { AppError, isAppError } from '../errors.ts';
import { type AccountAccess, createAccountAccess, type TokensOfAccounts } from './access.ts';
import {
  type Account,
  type AccountRow,
  accountColumns,
  accountFromRow,
  checkedEmail,
  checkRoles,
  emailKey,
  type LocalAccount,
  type Names,
  type NewAccount,
  namesOf,
  type Profile,
  profileValues,
  saysTheSame,
  unknownAccount,
  withOwnAddress,
} from './account.ts';

export interface Accounts extends Omit<AccountAccess, 'disable'> {
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
  /**
   * What the other side says now. An address that the person signs in by here stays as it is. Whoever has a role less
   * loses the tokens that say so; after the transaction, whoever verifies tokens is to be told (`Grants.ended`).
   */
  updateFromElsewhere(
    tx: Queryable,
    account: Pick<Account, 'id'>,
    said: Profile,
    mappedRoles: readonly string[],
    actor: string,
  ): Promise<Account>;
  /** The same password under another cost; not an event, and only if nobody changed it meanwhile. */
  rehash(id: string, from: string, to: string): Promise<void>;
  /** Sets what is given of the names; an empty text takes one away. Of who signs in elsewhere, the other side has them. */
  setNames(id: string, names: Names, actor: string): Promise<void>;
  /** Vouches that the address is the person's, or takes that back. */
  setEmailVerified(id: string, verified: boolean, actor: string): Promise<void>;
  /**
   * Who is disabled is signed out everywhere, in the same transaction.
   * @throws {AppError} last_administrator
   */
  setDisabled(id: string, disabled: boolean, actor: string): Promise<void>;
  signedIn(id: string): Promise<void>;
}

const noTokens: TokensOfAccounts = { end: async () => 0, ended: async () => {} };

interface AccountsOptions {
  /** Default: none are issued. */
  tokens?: TokensOfAccounts;
  now?: () => number;
}

export function createAccounts(
  db: Database,
  audit: Audit,
  { tokens = noTokens, now = Date.now }: AccountsOptions = {},
): Accounts {
  const { disable, ...access } = createAccountAccess(db, audit, { tokens, now });

  async function one(where: string, value: string): Promise<Account | undefined> {
    const {
      rows: [row],
    } = await db.query<AccountRow>(`select ${accountColumns} from accounts where ${where} = $1`, [value]);
    return row && accountFromRow(row);
  }

  async function insert(account: NewAccount, actor: string, onlyFirst: boolean): Promise<LocalAccount | undefined> {
    const id = randomUUID();
    const email = checkedEmail(account.email);
    checkRoles(account.roles);
    const names = namesOf(account);
    try {
      const made = await db.transaction(async (tx) => {
        const {
          rows: [row],
        } = await tx.query<AccountRow>(
          `insert into accounts
             (id, email, email_key, email_verified, name, given_name, family_name, roles, mapped_roles, password_hash,
              password_must_change, created_at, updated_at)
           select $1, $2, $3, cast($10 as bigint), $4, $11, $12, $5, '[]', $6, cast($7 as bigint), cast($8 as bigint),
             cast($8 as bigint)
           where $9 = 'any' or not exists (select 1 from accounts)
           returning ${accountColumns}`,
          [
            id,
            email,
            emailKey(email),
            names.name,
            JSON.stringify(account.roles),
            account.passwordHash ?? null,
            account.passwordMustChange ? 1 : 0,
            now(),
            onlyFirst ? 'first' : 'any',
            account.emailVerified === false ? 0 : 1,
            names.givenName,
            names.familyName,
          ],
        );
        if (!row) return undefined;
        const detail = { roles: account.roles };
        await audit.append(tx, { event: 'account.created', actor, subject: id, detail });
        return row;
      });
      return made && { ...accountFromRow(made), email };
    } catch (error) {
      if (!isAppError(error, 'unique_violation')) throw error;
      if (onlyFirst) return undefined;
      throw new AppError('account_exists', 409, `an account with the e-mail address ${email} exists already`, {
        cause: error,
        hint: 'signet accounts list shows them all.',
      });
    }
  }

  async function change(
    id: string,
    event: Pick<AuditEvent, 'event' | 'actor' | 'detail'>,
    sql: string,
    values: (string | number | null)[],
  ) {
    await db.transaction(async (tx) => {
      const { rowCount } = await tx.query(sql, [id, ...values, now()]);
      if (rowCount === 0) throw unknownAccount(id);
      await audit.append(tx, { ...event, subject: id });
    });
  }

  return {
    ...access,

    find: (id) => one('id', id),
    findByEmail: (email) => one('email_key', emailKey(email)),

    async listByEmail(email) {
      const { rows } = await db.query<AccountRow>(
        `select ${accountColumns} from accounts where email_key = $1 or lower(email) = $1 order by created_at`,
        [emailKey(email)],
      );
      return rows.map(accountFromRow);
    },

    async list() {
      const { rows } = await db.query<AccountRow>(
        `select ${accountColumns} from accounts order by coalesce(email_key, lower(email), id), created_at`,
      );
      return rows.map(accountFromRow);
    },

    async any() {
      return (await db.query('select id from accounts limit 1')).rowCount > 0;
    },

    async create(account, actor) {
      const created = await insert(account, actor, false);
      if (!created) throw new Error('an account that was to be created was not');
      return created;
    },

    createFirst: (account) => insert(account, 'signet', true),

    async createElsewhere(tx, profile, mappedRoles, actor) {
      const id = randomUUID();
      const made = await tx.query<AccountRow>(
        `insert into accounts
           (id, email, email_verified, name, given_name, family_name, preferred_username, roles, mapped_roles,
            password_must_change, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, '[]', $8, 0, $9, $9)
         returning ${accountColumns}`,
        [id, ...profileValues(profile), JSON.stringify(mappedRoles), now()],
      );
      await audit.append(tx, { event: 'account.created', actor, subject: id, detail: { mappedRoles } });
      return accountFromRow(theRow(made));
    },

    async updateFromElsewhere(tx, { id }, said, mappedRoles, actor) {
      // Touched before it is read: of two who bring the same news, the second finds it written, and ends nothing of
      // what was issued since.
      const {
        rows: [before],
      } = await tx.query<AccountRow>(`update accounts set updated_at = $2 where id = $1 returning ${accountColumns}`, [
        id,
        now(),
      ]);
      if (!before) throw new AppError('account_unknown', 404, `there is no account ${id}`);
      const account = accountFromRow(before);
      if (saysTheSame(account, said, mappedRoles)) return account;
      const updated = await tx.query<AccountRow>(
        `update accounts set email = $2, email_verified = $3, name = $4, given_name = $5, family_name = $6,
           preferred_username = $7, mapped_roles = $8
         where id = $1 returning ${accountColumns}`,
        [id, ...profileValues(withOwnAddress(account, said)), JSON.stringify(mappedRoles)],
      );
      if (String(mappedRoles) !== String(account.mappedRoles)) {
        const detail = { mappedRoles, before: account.mappedRoles };
        await audit.append(tx, { event: 'account.mapped_roles_set', actor, subject: id, detail });
      }
      const changed = accountFromRow(theRow(updated));
      const isLess = account.roles.some((role) => !changed.roles.includes(role));
      if (isLess) await tokens.end(tx, id, { sessions: false });
      return changed;
    },

    async rehash(id, from, to) {
      await db.query('update accounts set password_hash = $3 where id = $1 and password_hash = $2', [id, from, to]);
    },

    async setEmailVerified(id, verified, actor) {
      await change(
        id,
        { event: 'account.email_verified', actor, detail: { verified } },
        'update accounts set email_verified = $2, updated_at = $3 where id = $1',
        [verified ? 1 : 0],
      );
    },

    async setNames(id, names, actor) {
      const given = (['name', 'givenName', 'familyName'] as const).filter((one) => names[one] !== undefined);
      const account = await one('id', id);
      if (!account) throw unknownAccount(id);
      const { name, givenName, familyName } = namesOf({ ...account, ...names });
      // What somebody is called is in the account, and not for ever in the trail.
      await change(
        id,
        { event: 'account.names_set', actor, detail: { names: given } },
        'update accounts set name = $2, given_name = $3, family_name = $4, updated_at = $5 where id = $1',
        [name, givenName, familyName],
      );
    },

    async setDisabled(id, disabled, actor) {
      if (disabled) return disable(id, actor);
      await change(
        id,
        { event: 'account.enabled', actor },
        'update accounts set disabled_at = $2, updated_at = $3 where id = $1',
        [null],
      );
    },

    async signedIn(id) {
      await db.query('update accounts set last_sign_in_at = $2 where id = $1', [id, now()]);
    },
  };
}
