// Ids that are the same at every start, so that a product with a database meets the same tenants, people and groups
// again: the demo would otherwise greet a new Alice each time.

import { createHash } from 'node:crypto';

/** A GUID that looks random (version 4) and depends on `name` alone. */
export function stableGuid(name: string): string {
  const hex = createHash('sha256').update(`entra-sim/${name}`).digest('hex');
  const version = `4${hex.slice(13, 16)}`;
  const variant = `a${hex.slice(17, 20)}`;
  return [hex.slice(0, 8), hex.slice(8, 12), version, variant, hex.slice(20, 32)].join('-');
}
