// Clients (RFC 6749 §2), which pages and signet.yaml call applications. Owns the tables clients and disabled_clients. Two
// sources: declared in signet.yaml, and then read-only here but for an emergency stop, or registered by an administrator.
// Secrets are 256 bits of randomness, so a plain SHA-256 keeps them: bcrypt would protect nothing more and cap the token
// endpoint at a few hundred requests a second.

import { hash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Audit } from '../audit/audit.ts';
import type { AuditEventName } from '../audit/events.ts';
import { clientIdPattern } from '../config/application-rules.ts';
import type { ApplicationConfig } from '../config/config.ts';
import type { Database, Queryable } from '../database/database.ts';
import { AppError, isAppError } from '../errors.ts';
import { readDisabled } from './disabled.ts';

export interface RegisteredClient extends ApplicationConfig {
  /** Whether it stands in signet.yaml, where alone it can be changed; stopped it can be from here. */
  declared: boolean;
  disabledAt?: Date;
}

/** What an administrator says of a new application; the identifier and the secret are made here. */
export type NewClient = Omit<ApplicationConfig, 'clientId' | 'secretHash'> & { clientId?: string };

export interface Clients {
  /**
   * The application, unless unknown or disabled. From memory, so that issuing costs no query: until it changes here or,
   * where `subscribe` was called, in another process; for `cacheSeconds` at most, since word of that may be lost.
   */
  find(clientId: string): Promise<RegisteredClient | undefined>;
  list(): Promise<RegisteredClient[]>;
  /** Of these, the ones that are told when a session ends. Read within a transaction, and so not from memory. */
  notifiedOfLogout(tx: Queryable, clientIds: readonly string[]): Promise<RegisteredClient[]>;
  /** Registers an application; `secret` is returned this once and nowhere kept. */
  register(application: NewClient, actor: string): Promise<{ application: RegisteredClient; secret?: string }>;
  /** Replaces the secret; the old one stops at once, and with it all that the application was issued. */
  renewSecret(clientId: string, actor: string): Promise<string>;
  /** With an application, all that it was issued ends, in the same transaction. */
  setDisabled(clientId: string, disabled: boolean, actor: string): Promise<void>;
  /** Notices at once what other processes change, until the returned function is called. */
  subscribe(): Promise<() => Promise<void>>;
}

/** What applications were issued: the issuer's business, and introduced by store.ts. */
interface TokensOfClients {
  /** Ends the grants given to an application, and what it has for itself, in the given transaction; how many grants. */
  end(tx: Queryable, clientId: string): Promise<number>;
  /** Called after the transaction: everybody who verifies tokens may learn of it. */
  ended(): Promise<void>;
}

interface ClientsOptions {
  /** Default: none are issued. */
  tokens?: TokensOfClients;
  now?: () => number;
  cacheSeconds?: number;
}

/** Announced on the database after every change of an application. */
const clientsChannel = 'signet_clients';

const noTokens: TokensOfClients = { end: async () => 0, ended: async () => {} };

interface Row {
  id: string;
  metadata: string;
  secret_hash: string | null;
  disabled_at: number | null;
}

// One that was stopped while it was declared stays so when it is registered instead, and the other way round.
const columns = `id, metadata, secret_hash, coalesce(disabled_at,
  (select d.disabled_at from disabled_clients d where d.client_id = clients.id)) as disabled_at`;

/** With the database away, what was known of stopped applications holds, and nobody waits longer for news of it. */
const patienceMs = 1_000;

export function createClients(
  db: Database,
  declared: readonly ApplicationConfig[],
  audit: Audit,
  { tokens = noTokens, now = Date.now, cacheSeconds = 5 }: ClientsOptions = {},
): Clients {
  const fromFile = new Map(declared.map((application) => [application.clientId, { ...application, declared: true }]));
  const recent = new Map<string, { application: RegisteredClient | undefined; readAt: number }>();
  // How often memory was found wrong: what was asked for before that, and arrives after it, is not remembered.
  let changes = 0;

  async function read(clientId: string): Promise<RegisteredClient | undefined> {
    const {
      rows: [row],
    } = await db.query<Row>(`select ${columns} from clients where id = $1`, [clientId]);
    return row && fromRow(row);
  }

  let disabled: { ids: ReadonlyMap<string, number>; readAt: number } | undefined;
  let reading: Promise<ReadonlyMap<string, number>> | undefined;

  /** Of declared applications, too: as fresh as what is known of the others. */
  async function disabledNow(): Promise<ReadonlyMap<string, number>> {
    if (disabled && now() - disabled.readAt < cacheSeconds * 1000) return disabled.ids;
    reading ??= readDisabledAnew().finally(() => {
      reading = undefined;
    });
    if (!disabled) return reading;
    const known = disabled.ids;
    const patience = new AbortController();
    const lateOrFailed = delay(patienceMs, known, { ref: false, signal: patience.signal });
    lateOrFailed.catch(() => undefined);
    return Promise.race([reading.catch(() => known), lateOrFailed]).finally(() => patience.abort());
  }

  async function readDisabledAnew(): Promise<ReadonlyMap<string, number>> {
    for (;;) {
      const asked = changes;
      const ids = await readDisabled(db);
      disabled = { ids, readAt: asked === changes ? now() : -Infinity };
      if (asked === changes) return ids;
    }
  }

  async function find(clientId: string): Promise<RegisteredClient | undefined> {
    const inFile = fromFile.get(clientId);
    if (inFile) return (await disabledNow()).has(clientId) ? undefined : inFile;
    // What can be nobody's name is not looked for; PostgreSQL would not take every text for a question.
    if (!clientIdPattern.test(clientId)) return undefined;
    const known = recent.get(clientId);
    if (known && now() - known.readAt < cacheSeconds * 1000) return known.application;
    const asked = changes;
    const application = await read(clientId);
    const usable = application?.disabledAt ? undefined : application;
    // Unknown names are not remembered: whoever invents them would fill the memory.
    if (application && asked === changes) recent.set(clientId, { application: usable, readAt: now() });
    else recent.delete(clientId);
    return usable;
  }

  function invalidate(): void {
    changes += 1;
    recent.clear();
    if (disabled) disabled.readAt = -Infinity;
  }

  function refuseDeclared(clientId: string): void {
    if (!fromFile.has(clientId)) return;
    throw new AppError('application_declared', 409, `application ${clientId} is declared in signet.yaml`, {
      hint: 'Change it there and restart; what is declared in the file is read-only elsewhere.',
    });
  }

  /** @param work answers whether there is such an application */
  async function change(
    clientId: string,
    event: AuditEventName,
    actor: string,
    work: (tx: Queryable) => Promise<boolean>,
    { endsTokens = false } = {},
  ) {
    await db.transaction(async (tx) => {
      if (!(await work(tx))) throw unknownClient(clientId);
      const detail = endsTokens ? { grantsEnded: await tokens.end(tx, clientId) } : undefined;
      await audit.append(tx, { event, actor, clientId, detail });
    });
    invalidate();
    await db.announce(clientsChannel); // who misses it finds out when its memory is too old
    if (endsTokens) await tokens.ended();
  }

  async function disable(tx: Queryable, clientId: string): Promise<boolean> {
    if (!fromFile.has(clientId)) {
      const { rowCount } = await tx.query('update clients set disabled_at = $2, updated_at = $2 where id = $1', [
        clientId,
        now(),
      ]);
      return rowCount > 0;
    }
    await tx.query(
      `insert into disabled_clients (client_id, disabled_at) values ($1, $2) on conflict (client_id) do nothing`,
      [clientId, now()],
    );
    return true;
  }

  async function enable(tx: Queryable, clientId: string): Promise<boolean> {
    await tx.query('delete from disabled_clients where client_id = $1', [clientId]);
    const { rowCount } = await tx.query('update clients set disabled_at = null, updated_at = $2 where id = $1', [
      clientId,
      now(),
    ]);
    return fromFile.has(clientId) || rowCount > 0;
  }

  return {
    find,

    async list() {
      const { rows } = await db.query<Row>(`select ${columns} from clients order by id`);
      // One that was registered before it was declared is hidden by the file, here as in `find`.
      const stopped = await readDisabled(db);
      const declaredOnes = [...fromFile.values()].map((one) => ({
        ...one,
        ...disabledSince(stopped.get(one.clientId)),
      }));
      return [...declaredOnes, ...rows.map(fromRow).filter(({ clientId }) => !fromFile.has(clientId))];
    },

    async notifiedOfLogout(tx, clientIds) {
      const registered = clientIds.filter((clientId) => !fromFile.has(clientId));
      const names = registered.map((_, at) => `$${at + 1}`).join(', ');
      const { rows } =
        names === ''
          ? { rows: [] }
          : await tx.query<Row>(`select ${columns} from clients where id in (${names})`, registered);
      const declaredOnes = clientIds
        .flatMap((clientId) => fromFile.get(clientId) ?? [])
        .filter((one) => one.backchannelLogoutUri !== undefined);
      const stopped = declaredOnes.length === 0 ? new Map() : await readDisabled(tx);
      const able = rows.map(fromRow).filter((one) => one.backchannelLogoutUri !== undefined && !one.disabledAt);
      return [...declaredOnes.filter(({ clientId }) => !stopped.has(clientId)), ...able];
    },

    async register({ clientId = randomUUID(), ...metadata }, actor) {
      refuseDeclared(clientId);
      const secret = needsSecret(metadata.type) ? newSecret() : undefined;
      const secretHash = secret && hashSecret(secret);
      try {
        await db.transaction(async (tx) => {
          await tx.query(
            `insert into clients (id, metadata, secret_hash, created_at, updated_at) values ($1, $2, $3, $4, $4)`,
            [clientId, JSON.stringify(metadata), secretHash ?? null, now()],
          );
          await audit.append(tx, { event: 'application.registered', actor, clientId, detail: { type: metadata.type } });
        });
      } catch (error) {
        if (!isAppError(error, 'unique_violation')) throw error;
        throw new AppError('application_exists', 409, `an application with the client id ${clientId} exists already`, {
          cause: error,
          hint: 'Choose another --id, or leave it out to have one made.',
        });
      }
      return { application: { ...metadata, clientId, secretHash, declared: false }, secret };
    },

    async renewSecret(clientId, actor) {
      const application = fromFile.get(clientId) ?? (await read(clientId));
      if (!application) throw unknownClient(clientId);
      if (!needsSecret(application.type)) {
        throw new AppError(
          'application_public',
          409,
          `application ${clientId} is of type ${application.type}: it has no secret`,
        );
      }
      refuseDeclared(clientId);
      const secret = newSecret();
      await change(
        clientId,
        'application.secret_renewed',
        actor,
        async (tx) =>
          (
            await tx.query('update clients set secret_hash = $2, updated_at = $3 where id = $1', [
              clientId,
              hashSecret(secret),
              now(),
            ])
          ).rowCount > 0,
        { endsTokens: true },
      );
      return secret;
    },

    async setDisabled(clientId, isDisabled, actor) {
      await change(
        clientId,
        isDisabled ? 'application.disabled' : 'application.enabled',
        actor,
        (tx) => (isDisabled ? disable : enable)(tx, clientId),
        { endsTokens: isDisabled },
      );
    },

    // On SQLite the word comes after whatever was committed, at most twice a second: then each application that is in
    // use is read again once, which is less than telling the changes apart.
    async subscribe() {
      const stop = await db.listen(clientsChannel, invalidate);
      await disabledNow();
      return stop;
    },
  };
}

/** RFC 6749 §2.3: one way in each request. The cause is a setting of a library, so the answer says which. */
export const authenticatedTwice =
  'the client secret was sent twice, in the Authorization header and in the form: send it ' +
  'in one way. Where a library does it, one of its settings adds the second: client_secret in auto_refresh_kwargs or ' +
  'include_client_id (requests-oauthlib, Flask-Dance), token_endpoint_auth_method (Authlib), AuthStyle (golang.org/x/oauth2)';

/** Whether an application of this type authenticates with a secret (RFC 6749 §2.1, confidential). */
export function needsSecret(type: ApplicationConfig['type']): boolean {
  return type === 'web' || type === 'service';
}

/** Compares in constant time, on digests, so that neither content nor length of the secret can be timed. */
export function secretMatches(secretHash: string, presented: string): boolean {
  return timingSafeEqual(Buffer.from(secretHash, 'hex'), hash('sha256', presented, 'buffer'));
}

const newSecret = () => randomBytes(32).toString('base64url');
const hashSecret = (secret: string) => hash('sha256', secret, 'hex');

function unknownClient(clientId: string): AppError {
  return new AppError('application_unknown', 404, `there is no application ${clientId}`, {
    hint: 'signet clients list shows them all.',
  });
}

function fromRow(row: Row): RegisteredClient {
  return {
    ...(JSON.parse(row.metadata) as Omit<ApplicationConfig, 'clientId'>),
    clientId: row.id,
    secretHash: row.secret_hash ?? undefined,
    declared: false,
    ...disabledSince(row.disabled_at ?? undefined),
  };
}

function disabledSince(at: number | undefined): Pick<RegisteredClient, 'disabledAt'> {
  return at === undefined ? {} : { disabledAt: new Date(at) };
}
