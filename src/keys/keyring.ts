// The only ways to change signing keys. Every action is one transaction that checks its precondition in the statement
// that writes (key-rows.ts), so of two replicas that decide the same thing one does it, and the audit row commits with it.
// What is due, and when: lifecycle.ts. Private halves open only here.

import type { Actor } from '../audit/actor.ts';
import type { Audit } from '../audit/audit.ts';
import type { AuditEventName } from '../audit/events.ts';
import type { Database, Queryable } from '../database/database.ts';
import { AppError } from '../errors.ts';
import type { Emergency, KeyRevocation, Succession } from './emergency.ts';
import {
  activateKey,
  destroyKey,
  findKey,
  insertKey,
  listKeys,
  raiseActiveLife,
  readPublishedKeys,
  readSealedKeys,
  replaceSealedKey,
  retireActiveKey,
  revokeKey,
  type SigningKey,
  versionOf,
} from './key-rows.ts';
import type { Milliseconds } from './lifecycle.ts';
import { readyAt, spentAt } from './lifecycle.ts';
import type { KeyPolicy, Seconds } from './policy.ts';
import { afterlife, followedWithin } from './policy.ts';
import type { Seal } from './seal.ts';
import { createSealedKeys, type SealedKey } from './sealed-keys.ts';
import type { NewKey, PublicJwk, Signer } from './signer.ts';
import { createSigner, generateKey } from './signer.ts';

/** Announced on the database after every change. */
export const keysChannel = 'signet_keys';

/** What to sign with and what to publish. */
export interface SigningKeys {
  active: Signer;
  /** The JWKS: the active key, then retired ones (newest first), then the prepared one. The first key signs. */
  published: PublicJwk[];
  /** When the newest of them was prepared: who is given this JWKS has every key up to there. */
  newestPreparedAt: Milliseconds;
  /** Changes when anything above does. */
  version: string;
}

export interface Keyring {
  /** Every key there ever was, newest first; public halves only. */
  list(): Promise<SigningKey[]>;
  /** @throws {AppError} no_active_key | master_key_wrong */
  signingKeys(): Promise<SigningKeys>;
  /** Makes the first key and signs with it at once: nobody holds a JWKS yet. @throws {AppError} key_already_active */
  bootstrap(by?: Actor): Promise<string>;
  /** Makes and publishes the next key; answers its kid. @throws {AppError} key_already_prepared */
  prepare(by?: Actor): Promise<string>;
  /**
   * Signs with a prepared key from now on. The key before it is retired in the same transaction, its private half gone.
   * @throws {AppError} key_unknown | key_not_prepared | key_step_unsafe (not published for long enough)
   */
  activate(kid: string, by?: Actor): Promise<void>;
  /**
   * Hands over from the active key to the prepared one. With `force` also where none is prepared, or the master key
   * does not open them: then a new key signs, as in an emergency.
   * @throws {AppError} key_unknown | key_not_active | key_without_successor | key_step_unsafe | master_key_wrong
   */
  retire(kid: string, by?: Actor): Promise<Succession>;
  /**
   * Takes a retired key out of the JWKS.
   * @throws {AppError} key_unknown | key_not_retired | key_step_unsafe (what it signed may still be valid)
   */
  destroy(kid: string, by?: Actor): Promise<void>;
  /**
   * The emergency: the key leaves the JWKS at once. Where it was the active one, the prepared key (or a new one) signs
   * from the same transaction on. With `force`, also where the master key does not open them: then the prepared one is
   * revoked, too. The audit trail has an incident record, unless the key never signed.
   * @throws {AppError} key_unknown | key_already_gone | master_key_wrong
   */
  revoke(kid: string, reason: string, by?: Emergency): Promise<KeyRevocation>;
  /** Tells the active key that something it signs may live this long; never lowered. Answers whether that was news. */
  recordLife(seconds: Seconds, by?: Actor): Promise<boolean>;
  /** Seals every private half under the current master key; answers how many were under a previous one. */
  rekey(by?: Actor): Promise<number>;
  /** Opens every sealed private half, so that a wrong master key stops a start. @throws {AppError} master_key_wrong */
  checkMasterKey(): Promise<void>;
}

interface KeyringOptions {
  db: Database;
  seal: Seal;
  audit: Pick<Audit, 'append'>;
  policy: KeyPolicy;
  /** Default: the database's clock, so that replicas whose clocks differ still agree on every timestamp. */
  now?: () => Milliseconds | Promise<Milliseconds>;
  generate?: () => Promise<NewKey>;
}

const whenever = Number.MAX_SAFE_INTEGER;

export function createKeyring(options: KeyringOptions): Keyring {
  const { db, seal, audit, policy, now = () => db.now(), generate = () => generateKey() } = options;
  const sealedKeys = createSealedKeys(seal);
  // Kept from one call to the next, so that the private half is opened once and not at every tick.
  let signer: Signer | undefined;

  /** One transaction, then word to the other replicas. */
  async function change<T>(work: (tx: Queryable, at: Milliseconds) => Promise<T>): Promise<T> {
    const at = await now();
    const result = await db.transaction((tx) => work(tx, at));
    await db.announce(keysChannel);
    return result;
  }

  function note(
    tx: Queryable,
    event: AuditEventName,
    kid: string | undefined,
    by: Actor,
    detail: Record<string, unknown> = {},
  ) {
    const { actor = 'schedule', clientId, requestId, address, force: forced } = by;
    const all = { ...detail, forced };
    return audit.append(tx, { event, actor, clientId, requestId, address, subject: kid, detail: all });
  }

  /** Refuses to act beside keys that this master key does not open: it would add one that the others cannot. */
  async function checkMasterKey(tx: Queryable): Promise<void> {
    sealedKeys.openAll(await readSealedKeys(tx));
  }

  async function unopened(tx: Queryable): Promise<string[]> {
    return (await readSealedKeys(tx)).filter((sealedKey) => !sealedKeys.opens(sealedKey)).map(({ kid }) => kid);
  }

  /** Made beforehand where it will be needed: nobody should wait for a prime number inside a transaction. */
  async function spareBeside(kid: string): Promise<NewKey | undefined> {
    const isSuccessor = (sealedKey: SealedKey) =>
      sealedKey.activated_at === null && sealedKey.kid !== kid && sealedKeys.opens(sealedKey);
    return (await readSealedKeys(db)).some(isSuccessor) ? undefined : generate();
  }

  function insert(tx: Queryable, key: NewKey, preparedAt: Milliseconds, activatedAt: Milliseconds | null) {
    const { publicJwk, pkcs8 } = key;
    const sealedPrivate = sealedKeys.seal(publicJwk.kid, pkcs8);
    return insertKey(tx, { publicJwk, sealedPrivate, preparedAt, activatedAt, longestLife: policy.longestLife });
  }

  function promote(tx: Queryable, kid: string, at: Milliseconds, preparedBefore: Milliseconds): Promise<boolean> {
    return activateKey(tx, kid, { at, preparedBefore, longestLife: policy.longestLife });
  }

  /** Answers the kid of the key that signed until now. */
  async function activate(tx: Queryable, kid: string, at: Milliseconds, by: Actor): Promise<string | undefined> {
    await checkMasterKey(tx);
    const previous = await retireActiveKey(tx, at, kid);
    // Where nothing signs there is nothing to wait for: verifiers will have to fetch the key in any case.
    const atOnce = by.force !== undefined || previous === undefined;
    if (!(await promote(tx, kid, at, atOnce ? whenever : at - policy.publishAhead * 1000))) {
      const key = await findKey(tx, kid);
      if (key.state !== 'prepared') {
        throw new AppError('key_not_prepared', 409, `key ${kid} is ${key.state}; only a prepared key can be activated`);
      }
      const ready = moment(readyAt(key, policy));
      throw new AppError(
        'key_step_unsafe',
        409,
        `key ${kid} has been published since ${moment(key.preparedAt)}; until ${ready} a verifier may not have it, ` +
          `and would refuse what it signs`,
        { hint: `wait until ${ready}, or force it and say why` },
      );
    }
    if (previous !== undefined) await note(tx, 'key.retired', previous, by, { successor: kid });
    await note(tx, 'key.activated', kid, by, { previous });
    return previous;
  }

  /**
   * In an emergency: the prepared key, ready or not, or else a new one signs from now on. A prepared key that does not
   * open is of no use any more, and revoked.
   */
  async function succeed(
    tx: Queryable,
    previous: string,
    at: Milliseconds,
    spare: NewKey | undefined,
    by: Actor,
  ): Promise<Succession> {
    const standby = (await readSealedKeys(tx)).find(({ activated_at }) => activated_at === null);
    const lost = standby && !sealedKeys.opens(standby) ? standby.kid : undefined;
    if (lost !== undefined) {
      const reason = 'it does not open under the present master key';
      await revokeKey(tx, lost, at, reason);
      await note(tx, 'key.revoked', lost, by, { reason, was: 'prepared' });
    }
    let successor = lost === undefined ? standby?.kid : undefined;
    if (successor === undefined || !(await promote(tx, successor, at, whenever))) {
      const key = spare ?? (await generate());
      await insert(tx, key, at, at);
      successor = key.publicJwk.kid;
    }
    await checkMasterKey(tx); // the successor must open
    await note(tx, 'key.activated', successor, by, { previous, emergency: true });
    return { successor, alsoRevoked: lost };
  }

  return {
    list: () => listKeys(db),

    async signingKeys() {
      const { keys, sealed } = await readPublishedKeys(db);
      const [active] = keys;
      if (active?.state !== 'active' || !sealed) {
        throw new AppError('no_active_key', 503, 'no signing key is active', { hint: 'run: signet keys list' });
      }
      const published = keys.map((key) => key.publicJwk);
      if (signer?.kid !== active.kid) signer = createSigner(active.publicJwk, sealedKeys.open(sealed));
      const newestPreparedAt = Math.max(...keys.map(({ preparedAt }) => preparedAt));
      return { active: signer, published, newestPreparedAt, version: versionOf(keys) };
    },

    async bootstrap(by = {}) {
      const key = await generate();
      return change(async (tx, at) => {
        await checkMasterKey(tx);
        const { kid } = key.publicJwk;
        if (!(await insert(tx, key, at, at))) {
          throw new AppError('key_already_active', 409, 'a signing key is already active');
        }
        await note(tx, 'key.activated', kid, by, { first: true });
        return kid;
      });
    },

    async prepare(by = {}) {
      const key = await generate();
      return change(async (tx, at) => {
        await checkMasterKey(tx);
        const { kid } = key.publicJwk;
        if (!(await insert(tx, key, at, null))) {
          throw new AppError('key_already_prepared', 409, 'a key is already prepared; only one can be next', {
            hint: 'activate it, or revoke it first',
          });
        }
        await note(tx, 'key.prepared', kid, by);
        return kid;
      });
    },

    activate: (kid, by = {}) => change(async (tx, at) => void (await activate(tx, kid, at, by))),

    async retire(kid, by = {}) {
      const spare = by.force === undefined ? undefined : await spareBeside(kid);
      return change(async (tx, at) => {
        const { state } = await findKey(tx, kid);
        if (state !== 'active') {
          throw new AppError('key_not_active', 409, `key ${kid} is ${state}; only the active key can be retired`);
        }
        const successor = (await listKeys(tx)).find((key) => key.state === 'prepared')?.kid;
        // The master key is lost, say. What the key signed stays good all the same: its public half is in the JWKS.
        if (by.force !== undefined && (!successor || (await unopened(tx)).length > 0)) {
          if ((await retireActiveKey(tx, at)) !== kid) throw replaced(kid);
          await note(tx, 'key.retired', kid, by);
          return succeed(tx, kid, at, spare, by);
        }
        if (!successor) {
          throw new AppError('key_without_successor', 409, `key ${kid} cannot be retired: no other key is prepared`, {
            hint: 'prepare one first, and let verifiers fetch it',
          });
        }
        if ((await activate(tx, successor, at, by)) !== kid) throw replaced(kid);
        return { successor, alsoRevoked: undefined };
      });
    },

    destroy: (kid, by = {}) =>
      change(async (tx, at) => {
        const spentSeconds = by.force === undefined ? afterlife(policy) : 'whenever';
        if (!(await destroyKey(tx, kid, at, spentSeconds))) {
          const key = await findKey(tx, kid);
          const { state, retiredAt } = key;
          if (state !== 'retired' || retiredAt === null) {
            throw new AppError('key_not_retired', 409, `key ${kid} is ${state}; only a retired key can be destroyed`);
          }
          const spent = moment(spentAt({ ...key, retiredAt }, policy));
          throw new AppError(
            'key_step_unsafe',
            409,
            `until ${spent} tokens signed by key ${kid} may still be valid, and verifiers would refuse them`,
            { hint: `wait until ${spent}, or force it and say why` },
          );
        }
        await note(tx, 'key.destroyed', kid, by);
      }),

    async revoke(kid, reason, by = {}) {
      const spare = await spareBeside(kid);
      return change(async (tx, at) => {
        // By force also where the master key is lost or a row damaged: what does not open can still be given up.
        if (by.force === undefined) await checkMasterKey(tx);
        // What it was is read from the row as it was written, and not before: it may just have become the active one.
        const before = await revokeKey(tx, kid, at, reason);
        if (!before) {
          const { state } = await findKey(tx, kid);
          throw new AppError('key_already_gone', 409, `key ${kid} is ${state}; there is nothing left to revoke`);
        }
        await note(tx, 'key.revoked', kid, by, { reason, was: before.state });
        const succession = before.state === 'active' ? await succeed(tx, kid, at, spare, by) : {};
        const sessionsCut = await by.cutSessions?.(tx);
        const left = await unopened(tx);
        const revocation = {
          was: before.state,
          ...succession,
          sessionsCut,
          unopened: left.length > 0 ? left : undefined,
          verifiersFollowBy: at + followedWithin(policy) * 1000,
          signedValidUntil: (before.retiredAt ?? at) + before.longestLife * 1000,
        };
        if (before.state === 'prepared' && sessionsCut === undefined) return revocation;
        await note(tx, 'key.incident', kid, by, {
          ...revocation,
          reason,
          verifiersFollowBy: moment(revocation.verifiersFollowBy),
          signedValidUntil: moment(revocation.signedValidUntil),
        });
        return revocation;
      });
    },

    async recordLife(seconds, by = {}) {
      return change(async (tx) => {
        const kid = await raiseActiveLife(tx, seconds);
        if (kid !== undefined) await note(tx, 'key.life_raised', kid, by, { longestLifeSeconds: seconds });
        return kid !== undefined;
      });
    },

    rekey: (by = {}) =>
      change(async (tx) => {
        await checkMasterKey(tx);
        const moved = (await readSealedKeys(tx)).filter((sealedKey) => !sealedKeys.isCurrent(sealedKey));
        for (const sealedKey of moved) {
          await replaceSealedKey(tx, sealedKey, sealedKeys.seal(sealedKey.kid, sealedKeys.open(sealedKey)));
        }
        if (moved.length > 0) await note(tx, 'key.rekeyed', undefined, by, { kids: moved.map(({ kid }) => kid) });
        return moved.length;
      }),

    checkMasterKey: () => checkMasterKey(db),
  };
}

function replaced(kid: string): AppError {
  return new AppError('key_not_active', 409, `key ${kid} was replaced in the meantime`);
}

function moment(at: Milliseconds): string {
  return new Date(at).toISOString();
}
