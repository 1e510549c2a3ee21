// The `state` (RFC 6749 §4.1.1) of a sign-in between its redirect to Microsoft and the callback. Owns the table
// entra_states. The browser carries two random values: `state` through Microsoft, and a cookie that stays. The row is
// found by the hash of the one, given out to the holder of the other, and gone when it was: single use is decided by
// the delete.

import { hash, randomBytes } from 'node:crypto';
import type { Database } from '../database/database.ts';
import { createRoom, type RoomLimits } from '../database/row-limits.ts';
import { deleteOldest } from '../database/rows.ts';
import type { Seal } from '../keys/seal.ts';
import type { BeginOptions } from './authorization-request.ts';
import type { OAuthErrorResponse } from './oauth-error.ts';

export interface BegunSignIn {
  uid: string;
  /** The client and tenant it was begun with; the configuration may have changed meanwhile. */
  app: string;
  redirectUri: string;
  codeVerifier: string;
  nonce: string;
  correlationId: string;
  oldestSeconds?: number;
  stepUp?: { acr: string; context: string };
  /** What it was begun with, should Microsoft ask for a further step. */
  options: BeginOptions;
  /** Whether that happened once. */
  isSecondTry: boolean;
}

/** What belongs to a sign-in, which its state names. */
export type SignInReply =
  | { kind: 'code'; state: string; code: string }
  | { kind: 'refused'; state: string; refusal: OAuthErrorResponse };

export interface States {
  /** @param network whose it is: see networkOf (web/address.ts) */
  begin(signIn: BegunSignIn, network: string): Promise<{ state: string; browser: string }>;
  /**
   * Keeps what a form_post brought, until the GET that can be asked for its cookie. False: there is no such sign-in, or
   * something is kept with it already.
   */
  stash(reply: SignInReply): Promise<boolean>;
  /** Undefined: unknown, used, too old, another browser's, or not as far as `isStashed` says. */
  take(state: string, browser: string, expect: { isStashed: boolean }): Promise<TakenState | undefined>;
  sweepExpired(now: number, limit: number): Promise<number>;
}

interface TakenState {
  begun: BegunSignIn;
  stashed?: SignInReply;
}

/** Long enough for a second factor that takes its time. */
export const stateLifeSeconds = 900;
const stashedSeconds = 60;

export function createStates(
  db: Database,
  seal: Seal,
  now: () => number = Date.now,
  limits?: Partial<RoomLimits>,
): States {
  const room = createRoom(db, { table: 'entra_states', key: 'id', limits });
  // Sealed twice per sign-in, so under a key of its own: see createSeal on how often one key may be used.
  const own = seal.forPurpose('entra states');
  const aadOf = (id: string, what: 'begun' | 'parked') => `entra_states ${id} ${what}`;
  const opened = <T>(sealed: string, aad: string) => JSON.parse(own.open(sealed, aad).toString()) as T;

  return {
    async begin(signIn, network) {
      const [state, browser] = [secretValue(), secretValue()];
      const id = digest(state);
      await db.query('insert into entra_states (id, browser, begun, expires_at, network) values ($1, $2, $3, $4, $5)', [
        id,
        digest(browser),
        own.seal(JSON.stringify(signIn), aadOf(id, 'begun')),
        now() + stateLifeSeconds * 1000,
        network,
      ]);
      await room.added(network);
      return { state, browser };
    },

    async stash(reply) {
      const id = digest(reply.state);
      const { rowCount } = await db.query(
        `update entra_states set parked = $2, parked_until = $3
         where id = $1 and parked is null and expires_at > $4`,
        [id, own.seal(JSON.stringify(reply), aadOf(id, 'parked')), now() + stashedSeconds * 1000, now()],
      );
      return rowCount === 1;
    },

    async take(state, browser, { isStashed }) {
      const id = digest(state);
      const {
        rows: [row],
      } = await db.query<{ begun: string; parked: string | null }>(
        `delete from entra_states
         where id = $1 and browser = $2 and expires_at > $3
           and ${isStashed ? 'parked_until > $3' : 'parked is null'}
         returning begun, parked`,
        [id, digest(browser), now()],
      );
      if (!row) return undefined;
      return {
        begun: opened<BegunSignIn>(row.begun, aadOf(id, 'begun')),
        ...(row.parked !== null && { stashed: opened<SignInReply>(row.parked, aadOf(id, 'parked')) }),
      };
    },

    sweepExpired: (at, limit) => deleteOldest(db, { from: 'entra_states', key: 'id' }, [at], limit),
  };
}

const secretValue = () => randomBytes(32).toString('base64url');
const digest = (value: string) => hash('sha256', value, 'base64url');
