// Account linking: whose account a verified Entra identity is. The one it came with before; the one that a person has
// just proved to be theirs and wants it connected to; or a new one, made at the first sign-in. An e-mail address alone
// decides nothing: whoever runs a tenant can write any address into it (CVE-2026-56666). Only where the operator
// switched it on, and both sides have verified the address, does it join an identity to an account that has none yet.

import { type Account, type Profile, saysTheSame } from '../accounts/account.ts';
import type { Accounts } from '../accounts/accounts.ts';
import type { Identities, Identity } from '../accounts/identities.ts';
import { mappingOf, type RoleEvidence, rolesOf } from '../accounts/role-mapping.ts';
import type { Audit } from '../audit/audit.ts';
import type { EntraConfig } from '../config/config.ts';
import type { Database, Queryable } from '../database/database.ts';
import { AppError, isAppError } from '../errors.ts';
import type { EntraIdentity, Groups } from './identity.ts';

export interface AccountLinking {
  /**
   * The account of `identity`, with what Microsoft says of the person now.
   * @param connectTo the account whose password the same browser has just proved
   * @throws {AppError} account_disabled (403), identity_taken (409), groups_unavailable (503)
   */
  signIn(identity: EntraIdentity, request: RequestFacts, connectTo?: string): Promise<Account>;
  /** What a check at refresh brought; undefined: that account may no longer sign in. @throws {AppError} as above */
  update(identity: EntraIdentity, accountId: string): Promise<Account | undefined>;
}

/** Which request it was, for the audit trail. */
interface RequestFacts {
  requestId: string;
  address: string;
}

interface AccountLinkingParts {
  config: EntraConfig;
  db: Database;
  accounts: Accounts;
  identities: Identities;
  audit: Audit;
  /** Called after a transaction in which tokens may have ended: everybody who verifies them learns of it. */
  tokensEnded(): Promise<void>;
}

/** What is kept of an identity: enough to explain roles, and to support a person. */
interface EntraAttributes {
  tid: string;
  pairwiseSub: string;
  guest: boolean;
  email?: string;
  preferredUsername?: string;
  appRoles: string[];
  groups: Groups;
}

const method = 'entra';
const actor = 'entra';

/** What Entra never gives to anybody else. The same oid in two tenants is two people. */
export function externalIdOf({ cloud, tid, oid }: Pick<EntraIdentity, 'cloud' | 'tid' | 'oid'>): string {
  return `entra|${cloud}|${tid}|${oid}`;
}

/** What the stored identities of a person say about roles. */
export function evidenceOf(identities: readonly Identity[]): RoleEvidence[] {
  return identities.map(({ attributes }) => {
    const { tid, appRoles, groups } = attributes as unknown as EntraAttributes;
    return { tid, appRoles, groups };
  });
}

export function createAccountLinking({
  config,
  db,
  accounts,
  identities,
  audit,
  tokensEnded,
}: AccountLinkingParts): AccountLinking {
  const mapping = mappingOf(config.tenant, config.roles);

  async function known(found: Identity, identity: EntraIdentity): Promise<Account> {
    const account = await accounts.find(found.accountId);
    if (!account) throw new AppError('account_unknown', 403, 'The account of this sign-in is gone.');
    // Before anything is written: nothing about a disabled person changes.
    if (account.disabledAt) throw disabled();
    const attributes = attributesOf(identity);
    // Only an account with a password can have a second identity connected to it.
    const all = account.signsInByEmail ? await identities.of(account.id) : [];
    const others = all.filter(({ externalId }) => externalId !== found.externalId);
    const mapped = rolesOf(mapping, [...evidenceOf(others), attributes]);
    const seen = { method, externalId: found.externalId, attributes: plain(attributes) } as const;
    const profile = profileOf(identity);
    if (saysTheSame(account, profile, mapped)) {
      await identities.seen(db, seen);
      return account;
    }
    return changing(async (tx) => {
      await identities.seen(tx, seen);
      return accounts.updateFromElsewhere(tx, account, profile, mapped, actor);
    });
  }

  async function linked(
    account: Account,
    identity: EntraIdentity,
    request: RequestFacts,
    how: string,
  ): Promise<Account> {
    const attributes = attributesOf(identity);
    const others = await identities.of(account.id);
    const mapped = rolesOf(mapping, [...evidenceOf(others), attributes]);
    return changing(async (tx) => {
      await link(tx, account.id, identity);
      await audit.append(tx, {
        event: 'identity.linked',
        actor: account.id,
        subject: account.id,
        ...request,
        detail: { method, how },
      });
      return accounts.updateFromElsewhere(tx, account, profileOf(identity), mapped, actor);
    });
  }

  /** For an account that there was before: a role that is lost takes tokens with it. */
  async function changing(work: (tx: Queryable) => Promise<Account>): Promise<Account> {
    const account = await db.transaction(work);
    await tokensEnded();
    return account;
  }

  async function created(identity: EntraIdentity): Promise<Account> {
    const mapped = rolesOf(mapping, [attributesOf(identity)]);
    return db.transaction(async (tx) => {
      const account = await accounts.createElsewhere(tx, profileOf(identity), mapped, actor);
      await link(tx, account.id, identity);
      return account;
    });
  }

  async function link(tx: Queryable, accountId: string, identity: EntraIdentity): Promise<void> {
    const attributes = plain(attributesOf(identity));
    await identities.link(tx, { method, externalId: externalIdOf(identity), accountId, attributes });
  }

  async function byVerifiedEmail({ email, emailVerified }: EntraIdentity): Promise<Account | undefined> {
    if (!config.linkByVerifiedEmail || !emailVerified || email === undefined) return undefined;
    const account = await accounts.findByEmail(email);
    if (!account?.emailVerified || account.disabledAt) return undefined;
    // Who has a Microsoft account connected did not lose it by somebody else's coming.
    return (await identities.of(account.id)).length > 0 ? undefined : account;
  }

  /** @param may 'omit': who signs in may do so without. A check takes from nobody what they have, for an outage. */
  function requireGroups({ groups }: EntraIdentity, may: EntraConfig['groups']['onOverageFailure']): void {
    const needed = Object.keys(mapping.groups).length > 0 && may === 'deny';
    if (groups.kind !== 'unavailable' || !needed) return;
    throw new AppError(
      'groups_unavailable',
      503,
      'Microsoft could not say which groups you are in, so what you may do here is not known.',
      {
        cause: new Error(groups.reason),
        hint: 'entra.groups.onOverageFailure: omit lets people in without their groups',
      },
    );
  }

  return {
    async signIn(identity, request, connectTo) {
      requireGroups(identity, config.groups.onOverageFailure);
      const found = await identities.find(method, externalIdOf(identity));
      if (found && connectTo !== undefined && found.accountId !== connectTo) throw taken();
      if (found) return known(found, identity);

      const chosen = connectTo === undefined ? await byVerifiedEmail(identity) : await accounts.find(connectTo);
      if (connectTo !== undefined && (!chosen || chosen.disabledAt)) throw disabled();
      try {
        if (!chosen) return await created(identity);
        return await linked(chosen, identity, request, connectTo === undefined ? 'verified e-mail' : 'password');
      } catch (error) {
        if (!isAppError(error, 'identity_taken')) throw error;
        // Two tabs at the first sign-in: the other one has made the account.
        const winner = await identities.find(method, externalIdOf(identity));
        if (!winner || (connectTo !== undefined && winner.accountId !== connectTo)) throw taken(error);
        return known(winner, identity);
      }
    },

    async update(identity, accountId) {
      requireGroups(identity, 'deny');
      const found = await identities.find(method, externalIdOf(identity));
      if (found?.accountId !== accountId) return undefined;
      try {
        return await known(found, identity);
      } catch (error) {
        if (isAppError(error, 'account_disabled') || isAppError(error, 'account_unknown')) return undefined;
        throw error;
      }
    },
  };
}

function profileOf({ email, emailVerified, name, givenName, familyName, preferredUsername }: EntraIdentity): Profile {
  return { email, emailVerified: email !== undefined && emailVerified, name, givenName, familyName, preferredUsername };
}

function attributesOf(identity: EntraIdentity): EntraAttributes {
  const { tid, pairwiseSub, guest, email, preferredUsername, appRoles, groups } = identity;
  return {
    tid,
    pairwiseSub,
    guest,
    email,
    preferredUsername,
    appRoles: [...appRoles].sort(),
    groups: groups.kind === 'complete' ? { kind: 'complete', ids: [...groups.ids].sort() } : groups,
  };
}

/** As it reads back from JSON: without what is undefined. */
const plain = (attributes: EntraAttributes) => JSON.parse(JSON.stringify(attributes)) as Record<string, unknown>;

function disabled(): AppError {
  return new AppError('account_disabled', 403, 'Your account here is disabled. Ask your administrator.');
}

function taken(cause?: unknown): AppError {
  return new AppError(
    'identity_taken',
    409,
    'This Microsoft account is connected to another account here already. Sign in with it, or choose another one.',
    { cause },
  );
}
