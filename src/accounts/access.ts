// Account access, and what takes it away: another password, being disabled, fewer roles, being signed out. The tokens
// that show it end in the same transaction. And nothing is taken from the last administrator that would leave nobody to
// administer. Part of accounts.ts, which owns the table.

import type { Audit } from '../audit/audit.ts';
import type { AuditEvent } from '../audit/events.ts';
import type { Database, Queryable } from '../database/database.ts';
import { AppError } from '../errors.ts';
import {
  type Account,
  type AccountRow,
  accountColumns,
  accountFromRow,
  adminRole,
  checkRoles,
  unknownAccount,
} from './account.ts';

export interface AccountAccess {
  /** Who gets a new password is signed out everywhere, in the same transaction: somebody may have known the old one. */
  setPassword(id: string, passwordHash: string, options: { mustChange: boolean; actor: string }): Promise<void>;
  /**
   * The person's own choice in place of the one-time password whose hash is `from`, which signs them out everywhere
   * else. The account as it is then; undefined when that one is no longer the password: used by another sign-in, or
   * replaced by an administrator.
   */
  choosePassword(
    id: string,
    from: string,
    to: string,
    request: Pick<AuditEvent, 'requestId' | 'address'>,
  ): Promise<Account | undefined>;
  /**
   * Who is disabled is signed out everywhere, in the same transaction.
   * @throws {AppError} last_administrator
   */
  disable(id: string, actor: string): Promise<void>;
  /**
   * Whoever loses a role loses the tokens that say so, in the same transaction; the sign-in at the issuer goes on, so
   * that applications get new ones without a password.
   * @throws {AppError} role_invalid | last_administrator
   */
  setRoles(id: string, roles: readonly string[], actor: string): Promise<void>;
  /** Ends every session and grant of the person; answers how many grants. They may sign in again. */
  signOut(id: string, actor: string, request?: RequestFacts): Promise<number>;
}

type RequestFacts = Pick<AuditEvent, 'clientId' | 'requestId' | 'address'>;

/** What accounts were issued: the issuer's business, and introduced by store.ts. */
export interface TokensOfAccounts {
  /** Ends the grants of a person and, where asked, their sessions, in the given transaction; how many grants. */
  end(tx: Queryable, accountId: string, options: { sessions: boolean }): Promise<number>;
  /** Called after the transaction: everybody who verifies tokens may learn of it. */
  ended(): Promise<void>;
}

// Roles have no quotes (checkRoles), so this finds the whole name and nothing else; "like" would find "Admin" on
// SQLite.
const isGivenTheRole = `replace(roles, '"${adminRole}"', '') <> roles`;
// Whom Microsoft makes an administrator it can unmake without asking us, and while it is away they do not come in: only
// who needs it for neither can be the last. (signin/routes.ts lets them in by password in every mode.)
const isAdministrator = `disabled_at is null and email_key is not null and password_hash is not null and ${isGivenTheRole}`;
const isNotTheLast = `(not (${isAdministrator})
  or exists (select 1 from (select id from accounts where ${isAdministrator}) others where others.id <> accounts.id))`;

export function createAccountAccess(
  db: Database,
  audit: Audit,
  { tokens, now }: { tokens: TokensOfAccounts; now: () => number },
): AccountAccess {
  /** Signs a person out everywhere; how many grants ended. */
  async function endEverything(tx: Queryable, id: string): Promise<number> {
    await tx.query('update accounts set signed_out_at = $2 where id = $1', [id, now()]);
    return tokens.end(tx, id, { sessions: true });
  }

  /**
   * An act that takes something away from a person, and the tokens that show it. `act` says which tokens end with it;
   * undefined: there is no such account. Answers how many grants ended.
   */
  async function reduce(
    id: string,
    event: Omit<AuditEvent, 'subject'>,
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
    async setPassword(id, passwordHash, { mustChange, actor }) {
      await reduce(id, { event: 'account.password_set', actor }, async (tx) => {
        const { rowCount } = await tx.query(
          'update accounts set password_hash = $2, password_must_change = $3, updated_at = $4 where id = $1',
          [id, passwordHash, mustChange ? 1 : 0, now()],
        );
        return rowCount === 1 ? { sessions: true } : undefined;
      });
    },

    async choosePassword(id, from, to, request) {
      const row = await db.transaction(async (tx) => {
        const { rowCount } = await tx.query(
          `update accounts set password_hash = $3, password_must_change = 0, updated_at = $4
           where id = $1 and password_hash = $2`,
          [id, from, to, now()],
        );
        if (rowCount === 0) return undefined;
        const detail = { grantsEnded: await endEverything(tx, id) };
        await audit.append(tx, { event: 'account.password_set', actor: id, subject: id, ...request, detail });
        return (await tx.query<AccountRow>(`select ${accountColumns} from accounts where id = $1`, [id])).rows[0];
      });
      if (row) await tokens.ended();
      return row && accountFromRow(row);
    },

    async disable(id, actor) {
      await reduce(id, { event: 'account.disabled', actor }, async (tx) => {
        await lockAdministrators(tx);
        const { rowCount } = await tx.query(
          `update accounts set disabled_at = $2, updated_at = $2 where id = $1 and ${isNotTheLast}`,
          [id, now()],
        );
        if (rowCount === 1) return { sessions: true };
        const { rowCount: known } = await tx.query('select id from accounts where id = $1', [id]);
        if (known === 1) throw lastAdministrator(id);
        return undefined;
      });
    },

    async setRoles(id, roles, actor) {
      checkRoles(roles);
      await reduce(id, { event: 'account.roles_set', actor, detail: { roles } }, async (tx) => {
        await lockAdministrators(tx);
        // Touched before it is read, so that of two who set roles at once the second reads what the first has set.
        const {
          rows: [row],
        } = await tx.query<AccountRow>(
          `update accounts set updated_at = $2 where id = $1 returning ${accountColumns}`,
          [id, now()],
        );
        if (!row) return undefined;
        const before = accountFromRow(row);
        const left = new Set([...roles, ...before.mappedRoles]);
        const { rowCount } = await tx.query(
          `update accounts set roles = $2 where id = $1 and ($3 = 1 or ${isNotTheLast})`,
          [id, JSON.stringify(roles), roles.includes(adminRole) ? 1 : 0],
        );
        if (rowCount === 0) throw lastAdministrator(id);
        return before.roles.every((role) => left.has(role)) ? 'nothing' : { sessions: false };
      });
    },

    signOut: (id, actor, request) =>
      reduce(id, { event: 'account.signed_out', actor, ...request }, async (tx) => {
        const { rowCount } = await tx.query('update accounts set updated_at = $2 where id = $1', [id, now()]);
        return rowCount === 1 ? { sessions: true } : undefined;
      }),
  };
}

function lastAdministrator(id: string): AppError {
  const message = `account ${id} is the only administrator who can sign in by password`;
  return new AppError('last_administrator', 409, message, {
    hint: 'Make somebody else with a password here an administrator first: signet accounts roles <who> --set admin.',
  });
}
