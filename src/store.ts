// The store: what the server and every command of the command line work with alike, on one database. Wired here:
// database → clock → master key → audit → keys → status lists → grants → clients and accounts.

import { type Accounts, createAccounts } from './accounts/accounts.ts';
import { createIdentities, type Identities } from './accounts/identities.ts';
import { type Audit, createAudit } from './audit/audit.ts';
import { createLogoutQueue, type LogoutQueue } from './backchannel-logout/queue.ts';
import { type Apis, createApis } from './clients/apis.ts';
import { type Clients, createClients } from './clients/clients.ts';
import { type Config, maxAccessTokenLife } from './config/config.ts';
import { type SharedClock, startSharedClock } from './database/clock.ts';
import { migrate } from './database/migrate.ts';
import { openDatabase } from './database/open.ts';
import { type WatchedDatabase, watchOutages } from './database/outages.ts';
import { createKeyRefreshes, type KeyRefreshes } from './entra/key-refreshes.ts';
import { createGrantEnding, type GrantEnding } from './grants/ending.ts';
import { createGrants, type Grants, grantLifeSeconds } from './grants/grants.ts';
import { createJwksClients, type JwksClients } from './keys/jwks-clients.ts';
import { hasSigningKeys } from './keys/key-rows.ts';
import { createKeyring, type Keyring } from './keys/keyring.ts';
import { createKeyOperations, type KeyOperations } from './keys/operations.ts';
import { type KeyPolicy, keyPolicy, longestAccessTokenLife } from './keys/policy.ts';
import { createSeal, loadMasterKey, type Seal } from './keys/seal.ts';
import { generateKey } from './keys/signer.ts';
import { type Log, silentLog } from './log.ts';
import { createNewPasswords, type NewPasswords } from './signin/new-password.ts';
import { createPasswords, type Passwords } from './signin/password.ts';
import type { QueueLimits } from './signin/password-queue.ts';
import { createStatusIndexes, type StatusIndexes } from './status-list/indexes.ts';
import { createStatusListPublisher, type StatusListPublisher } from './status-list/lists.ts';
import { createRevokedStatuses, type RevokedStatuses } from './status-list/revoked.ts';
import { networkOf, withinNetworks } from './web/address.ts';

/** What every command works with: the same modules on the same database, whether or not a server runs. */
export interface Store {
  db: WatchedDatabase;
  clock: SharedClock;
  seal: Seal;
  audit: Audit;
  policy: KeyPolicy;
  keyring: Keyring;
  jwksClients: JwksClients;
  keys: KeyOperations;
  accounts: Accounts;
  identities: Identities;
  clients: Clients;
  apis: Apis;
  passwords: Passwords;
  newPasswords: NewPasswords;
  statusIndexes: StatusIndexes;
  revoked: RevokedStatuses;
  ending: GrantEnding;
  statusLists: StatusListPublisher;
  logoutQueue: LogoutQueue;
  grants: Grants;
  entraKeys: KeyRefreshes;
  close(): Promise<void>;
}

interface StoreOptions {
  /** Whether a database that is not there is made. Default true; a command beside the server should not. */
  create?: boolean;
  /** Whether an outage of the database is logged. Default false: a command ends with it, and says so. */
  outages?: boolean;
  /** Aborted: the migrations are not waited for. */
  stopping?: AbortSignal | undefined;
  /** How many may wait for bcrypt. Default: see signin/password.ts. */
  passwordQueue?: QueueLimits | undefined;
  /** How many processes serve together, and share what may be checked and may wait. Default 1. */
  workers?: number | undefined;
  /** Makes the signing keys. Default: see keys/signer.ts. */
  makeKey?: typeof generateKey | undefined;
}

/** @throws {AppError} `database_missing`, and whatever is wrong with the database or the master key */
export async function openStore(config: Config, log: Log, options: StoreOptions = {}): Promise<Store> {
  const { create = true, outages = false, stopping, passwordQueue, workers, makeKey = generateKey } = options;
  const closers = createClosers();
  try {
    const db = watchOutages(await openDatabase(config.database.url, { create }), outages ? log : silentLog);
    closers.push(() => db.close());
    stopping?.throwIfAborted();
    // A migration waits for another server's, and may take minutes; what is cut off leaves nothing behind.
    const { hurry } = db;
    stopping?.addEventListener('abort', hurry);
    await migrate(db, { create });
    stopping?.removeEventListener('abort', hurry);
    const clock = await startSharedClock(db, { log, allowedMs: config.keys.clockSkew * 1000 });
    closers.push(clock.stop);
    const { now } = clock;

    const { masterKeyFile: file, masterKey: value, previousMasterKeyFile: previousFile } = config.keys;
    const createIfMissing = !(await hasSigningKeys(db));
    const masterKeys = await loadMasterKey({ file, value, previousFile }, { createIfMissing });
    const seal = createSeal(masterKeys);

    const { activityRetention: activity, tokenRetention: tokens } = config.audit;
    const audit = createAudit(db, { now, log, retention: { activity, tokens }, networkOf });
    closers.push(() => audit.close());
    const policy = keyPolicy(config);
    const generate = () => makeKey(config.keys.modulusLength);
    const keyring = createKeyring({ db, seal, audit, policy, generate });
    const jwksClients = createJwksClients(db, {
      log,
      now,
      audit,
      isDeclared: withinNetworks(config.keys.jwksClientNetworks),
    });
    closers.push(() => jwksClients.close());
    const accessTokenLife = longestAccessTokenLife(config);

    const revoked = createRevokedStatuses(db, { clockSkew: config.keys.clockSkew, now });
    const statusIndexes: StatusIndexes = createStatusIndexes(db, {
      longestHolderLife: grantLifeSeconds + maxAccessTokenLife + config.keys.clockSkew,
      began: () => statusLists.refresh(),
      now,
    });
    const statusLists = createStatusListPublisher({
      issuer: config.issuer,
      indexes: statusIndexes,
      revoked,
      ttl: config.revocation.ttl,
      log,
      now,
      sharedNow: clock.exact,
    });
    const logoutQueue = createLogoutQueue(
      db,
      { notifiedOfLogout: (tx, clientIds) => clients.notifiedOfLogout(tx, clientIds) },
      now,
    );
    const ending = createGrantEnding({ revoked, statusLists, logoutQueue });
    const grants = createGrants({ db, audit, ending, statusIndexes, now });
    const { endOfAccount, endOfClient, cutEverything, ended } = grants;
    const clients = createClients(db, config.applications, audit, { tokens: { end: endOfClient, ended } });
    const { bcryptCost: cost, minLength } = config.passwords;
    const passwords = createPasswords({ cost, minLength, queueLimits: passwordQueue, workers });
    return {
      db,
      clock,
      seal,
      audit,
      policy,
      keyring,
      jwksClients,
      keys: createKeyOperations({ db, keyring, jwksClients, policy, accessTokenLife, cutSessions: cutEverything }),
      accounts: createAccounts(db, audit, { tokens: { end: endOfAccount, ended }, now }),
      identities: createIdentities(db, now),
      clients,
      statusIndexes,
      revoked,
      ending,
      statusLists,
      logoutQueue,
      grants,
      entraKeys: createKeyRefreshes(db, audit, config.keys.pollEvery),
      apis: createApis(config.apis, config.issuer),
      passwords,
      newPasswords: createNewPasswords({
        passwords,
        clients,
        issuer: config.issuer,
        serviceName: config.branding.name,
      }),
      close: closers.run,
    };
  } catch (error) {
    await closers.run();
    throw error;
  }
}

/** Whoever opens something registers its closing; closing runs last-in, first-out. */
interface Closers {
  push(step: () => unknown): void;
  run(): Promise<void>;
}

export function createClosers(): Closers {
  const steps: Array<() => unknown> = [];
  return {
    push: (step) => void steps.push(step),
    run: async () => {
      for (let step = steps.pop(); step; step = steps.pop()) await step();
    },
  };
}
