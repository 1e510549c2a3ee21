// The grant: what a person lets an application do, and what of it is stored.

import type { ModelClass } from './model.ts';

/** A grant knows its status index, which storage gave it, and the session it was made in (issuer/adapter.ts). */
export function grantModel(Base: ModelClass): ModelClass {
  return class Grant extends Base {
    static override get IN_PAYLOAD() {
      return [...super.IN_PAYLOAD, 'status', 'sessionUid', 'upstream'];
    }
  };
}
