// What becomes of the signing keys when one of them is given up before its time. Types alone; keyring.ts acts.

import type { Actor } from '../audit/actor.ts';
import type { Queryable } from '../database/database.ts';
import type { KeyState, Milliseconds } from './lifecycle.ts';

export interface Emergency extends Actor {
  /** Also ends every session and grant, in the same transaction; answers how many rows went. */
  cutSessions?: ((tx: Queryable) => Promise<number>) | undefined;
}

/** Who signs in the place of a key that was given up. */
export interface Succession {
  successor: string;
  /** The prepared key, revoked as well since the master key does not open it. */
  alsoRevoked: string | undefined;
}

/** What became of a revocation; a successor where the key was the active one. */
export interface KeyRevocation extends Partial<Succession> {
  was: KeyState;
  /** Keys left that the master key does not open; where the active one is among them, nothing can sign. */
  unopened: string[] | undefined;
  /** Rows ended, where sessions were cut. */
  sessionsCut: number | undefined;
  /**
   * By then every verifier that obeys our max-age refuses the key. Others accept it as long as they keep it, whatever
   * `exp` a thief writes; those that keep it for ever, until a key signs that they do not know (keys/lifecycle.ts).
   */
  verifiersFollowBy: Milliseconds;
  /** When the last of what it signed would expire. */
  signedValidUntil: Milliseconds;
}
