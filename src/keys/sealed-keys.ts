// The private halves of signing keys at rest, each sealed under the master key for the row of its own key. Only the
// prepared key and the active one have theirs. The rows are keyring.ts's.

import { AppError, isAppError } from '../errors.ts';
import type { Seal } from './seal.ts';

/** A key's private half as its row has it. */
export interface SealedKey {
  kid: string;
  sealed_private: string;
  /** Null: it is the prepared key's. */
  activated_at: number | null;
}

interface SealedKeys {
  /** For the row of `kid`; elsewhere it does not open. */
  seal(kid: string, pkcs8: Buffer): string;
  /** @throws {AppError} master_key_wrong | sealed_value_damaged */
  open(sealedKey: Pick<SealedKey, 'kid' | 'sealed_private'>): Buffer;
  opens(sealedKey: SealedKey): boolean;
  /** Opens them all. @throws {AppError} master_key_wrong, with the way out of a lost one | sealed_value_damaged */
  openAll(sealedKeys: readonly SealedKey[]): Buffer[];
  /** Whether it is sealed under the present master key, rather than a previous one. */
  isCurrent(sealedKey: SealedKey): boolean;
}

export function createSealedKeys(seal: Seal): SealedKeys {
  const open: SealedKeys['open'] = ({ kid, sealed_private }) => seal.open(sealed_private, aadOf(kid));

  return {
    seal: (kid, pkcs8) => seal.seal(pkcs8, aadOf(kid)),
    open,

    opens(sealedKey) {
      try {
        open(sealedKey);
        return true;
      } catch {
        return false; // another master key's, or damaged: either way nobody signs with it here
      }
    },

    openAll(sealedKeys) {
      try {
        return sealedKeys.map(open);
      } catch (error) {
        if (!isAppError(error, 'master_key_wrong')) throw error;
        const hint = `${error.hint}. Only if it is lost for good: ${wayOut(sealedKeys)}`;
        throw new AppError(error.code, error.status, error.message, { cause: error, hint });
      }
    },

    isCurrent: ({ sealed_private }) => seal.isCurrent(sealed_private),
  };
}

/** The command that gives up what a lost master key had sealed: see docs/keys.md. */
function wayOut(sealedKeys: readonly SealedKey[]): string {
  const active = sealedKeys.find(({ activated_at }) => activated_at !== null);
  const [verb, kid] = active ? ['retire', active.kid] : ['revoke', sealedKeys[0]!.kid];
  return `signet keys ${verb} ${kid} --force --reason "master key lost"`;
}

/** Associated data of a sealed private half. */
function aadOf(kid: string): string {
  return `signing key ${kid}`;
}
