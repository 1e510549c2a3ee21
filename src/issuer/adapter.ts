// oidc-provider's storage: its Adapter interface on the rows of grants/. Sessions and grants that end leave a mark, and
// applications are read from clients/ alone.

import { type Adapter, type AdapterPayload, errors } from 'oidc-provider';
import type { Database } from '../database/database.ts';
import type { GrantEnding } from '../grants/ending.ts';
import { endGrants, endSessionBehind, findGrant, retireSessionId, type StoredGrant } from '../grants/grant-rows.ts';
import { createModelRows, type ModelRows, type Strangers, stored } from '../grants/model-rows.ts';
import { createRefreshTokens, type RefreshTokenPayload, type RefreshTokens } from '../grants/refresh-rows.ts';
import { findSignedIn } from '../grants/signed-in.ts';
import type { StatusIndexes } from '../status-list/indexes.ts';
import { type RequestReads, readsNothing } from './request-reads.ts';

export interface Models extends RefreshTokens, Pick<ModelRows, 'findBackedCode'> {
  /** The adapter for one of oidc-provider's models, as its configuration wants it. */
  adapter(model: string): Adapter;
  /** Spends a code. False where somebody was first. */
  consumeCode(code: string): Promise<boolean>;
  /** Deletes up to `limit` expired rows of each table; answers how many. */
  sweep(now: number, limit: number): Promise<number>;
}

/** oidc-provider's, and what a session needs that gets another id. */
export interface SessionAdapter extends Adapter {
  /** Nothing is found or written under this id any more; the session goes on under the next. */
  replaced(id: string): Promise<void>;
}

/** What becomes of grants, at their first save and at their end. */
interface GrantStatus {
  ending: GrantEnding;
  statusIndexes: Pick<StatusIndexes, 'allocate'>;
}

export function createModels(
  db: Database,
  findClient: (clientId: string) => Promise<AdapterPayload | undefined>,
  { ending, statusIndexes }: GrantStatus,
  now: () => number = Date.now,
  strangers: Strangers = { network: () => undefined },
  reads: RequestReads = readsNothing,
): Models {
  const rows = createModelRows(db, now, strangers);
  const refreshTokens = createRefreshTokens(db);

  const adapter = (model: string): Adapter => ({
    upsert: (id, payload, expiresIn) => rows.write(model, id, payload, expiresIn!),
    find: (id) => rows.find(model, id),
    findByUid: (uid) => rows.findByUid(model, uid),
    findByUserCode: async () => undefined,
    async consume(id) {
      if (!(await rows.consume(model, id))) throw new errors.InvalidGrant('already used');
    },
    destroy: (id) => rows.remove(model, id),
    revokeByGrantId: (grantId) => rows.removeOfGrant(model, grantId),
  });

  // oidc-provider writes a session back at the end of each request that read it (lib/shared/session.js). Were the row
  // simply gone, a request under way during a sign-out would sign the person in again. So an ended one leaves a mark.
  const sessions = adapter('Session');
  const sessionAdapter: SessionAdapter = {
    ...sessions,
    async find(id) {
      const clientId = reads.authorizing();
      if (clientId === undefined) {
        const found = await sessions.find(id);
        return found?.consumed ? undefined : found;
      }
      const found = await findSignedIn(db, id, clientId);
      if (found) reads.keep(id, found);
      return found?.session;
    },
    // It ends so long after the sign-in, however it is used: where nothing else is new, nothing is.
    async upsert(id, payload, expiresIn) {
      if (reads.saysTheSame(id, stored(payload))) return;
      await sessions.upsert(id, payload, expiresIn);
    },
    async destroy(id) {
      await db.transaction((tx) => endSessionBehind(tx, id, ending, now));
      await ending.announce();
    },
    replaced: (id) => retireSessionId(db, id, now),
  };

  // A grant has its status index from its first save on: an update leaves it, whatever it was read with.
  const grantAdapter: Adapter = {
    ...adapter('Grant'),
    async upsert(id, { status, sessionUid, ...payload }: AdapterPayload & Partial<StoredGrant>, expiresIn) {
      const index = status ?? (await statusIndexes.allocate());
      await rows.write('Grant', id, payload, expiresIn!, { clientId: payload.clientId!, sessionUid, index });
    },
    find: async (id) => reads.takeGrant(id) ?? findGrant(db, id),
    async destroy(id) {
      await db.transaction((tx) => endGrants(tx, { grantId: id }, ending, now));
      await ending.announce();
    },
  };

  // How one is found and spent is issuer/refresh.ts.
  const refreshTokenAdapter: Adapter = {
    ...adapter('RefreshToken'),
    upsert: (id, payload, expiresIn) =>
      refreshTokens.saveRefreshToken(id, payload as RefreshTokenPayload, now() + expiresIn! * 1000),
    find: async (id) => (await refreshTokens.findRefreshToken(id))?.payload,
    destroy: (id) => refreshTokens.removeRefreshToken(id),
    revokeByGrantId: (grantId) => refreshTokens.removeRefreshTokensOf(grantId),
  };

  const clientAdapter = {
    ...adapter('Client'),
    find: findClient,
    upsert: refuseClientWrite,
    destroy: refuseClientWrite,
  };

  return {
    adapter(model) {
      if (model === 'Client') return clientAdapter;
      if (model === 'Grant') return grantAdapter;
      if (model === 'RefreshToken') return refreshTokenAdapter;
      return model === 'Session' ? sessionAdapter : adapter(model);
    },
    ...refreshTokens,
    findBackedCode: rows.findBackedCode,
    consumeCode: (code) => rows.consume('AuthorizationCode', code),
    sweep: async (at, limit) => (await rows.sweep(at, limit)) + (await refreshTokens.sweepRefreshTokens(at, limit)),
  };
}

function refuseClientWrite(): never {
  throw new Error('applications are written by clients.ts alone');
}
