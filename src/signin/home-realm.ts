// Home realm discovery: which way of signing in a person is offered, as a pure function of the configuration, the
// request and the address that was typed. Never of whether somebody exists: the page says the same to everybody.

import type { EntraConfig } from '../config/config.ts';

/**
 * both: address and password on one page (with Microsoft's button, where there is one).
 * identifier: the address first; what comes next depends on its domain.
 * password: the second half of that.
 * microsoft: the button alone.
 */
type SignInStep = 'both' | 'identifier' | 'password' | 'microsoft';

export interface Realm {
  step: SignInStep;
  /** Whether the page shows Microsoft's button. */
  microsoft: boolean;
  /** Whether it shows the way to a password, for whoever has one all the same. */
  local: boolean;
  /** Whether only administrators may come in by password here. */
  administratorsOnly: boolean;
}

/** @param local whether the person asked for the password form by hand: the way in when Microsoft is out of order */
export function realmFor(config: EntraConfig | undefined, { local }: { local: boolean }): Realm {
  const plain: Realm = { step: 'both', microsoft: false, local: false, administratorsOnly: false };
  if (!config || config.mode === 'local-only') return plain;
  const administratorsOnly = config.mode === 'entra-only';
  if (local) return { ...plain, administratorsOnly };
  if (config.mode === 'entra-only') return { step: 'microsoft', microsoft: true, local: true, administratorsOnly };
  // With no domain to tell people apart by, a page that asks for the address alone would be a detour.
  if (config.domains.length === 0) return { ...plain, microsoft: true };
  return { step: 'identifier', microsoft: true, local: true, administratorsOnly };
}
