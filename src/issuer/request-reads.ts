// What one request to oidc-provider has read, so that it is read once: what is decided first and what is decided next go
// by the same rows. Kept for that request alone; outside of one nothing is kept.

import { isDeepStrictEqual } from 'node:util';
import { Provider } from 'oidc-provider';
import type { Account } from '../accounts/account.ts';
import type { Accounts } from '../accounts/accounts.ts';
import type { StoredGrant } from '../grants/grant-rows.ts';
import type { SignedIn } from '../grants/signed-in.ts';

export interface RequestReads {
  /** The application that asks for a code; undefined in any other request. */
  authorizing(): string | undefined;
  /** Keeps what was read with the session of this cookie. */
  keep(cookie: string, found: SignedIn): void;
  /** What is written of a session is what was read of it. */
  saysTheSame(cookie: string, text: string): boolean;
  /** A grant that was read with the session: once, since it may be another one then. */
  takeGrant(id: string): StoredGrant | undefined;
}

interface Reads {
  people: Map<string, Promise<Account | undefined>>;
  grants: Map<string, StoredGrant>;
  session?: { cookie: string; text: string };
}

/** For whatever works outside of requests. */
export const readsNothing: RequestReads = {
  authorizing: () => undefined,
  keep: () => {},
  saysTheSame: () => false,
  takeGrant: () => undefined,
};

/** A client_id as RFC 6749 Appendix A.1 has it. Databases refuse some of what an address may carry. */
const wellFormed = /^[\x20-\x7e]{1,256}$/;

export function createRequestReads(find: Accounts['find']): RequestReads & { people: Accounts['find'] } {
  const seen = new WeakMap<object, Reads>();

  function here(): Reads | undefined {
    const request = Provider.ctx;
    if (!request) return undefined;
    let reads = seen.get(request);
    if (!reads) seen.set(request, (reads = { people: new Map(), grants: new Map() }));
    return reads;
  }

  return {
    people(id) {
      const people = here()?.people;
      if (!people) return find(id);
      let person = people.get(id);
      if (!person) people.set(id, (person = find(id)));
      return person;
    },

    // Asked for before oidc-provider has looked at the parameters. Where it takes another value, or none, for this one,
    // what was read is not what it asks for, and it reads again.
    authorizing() {
      const ctx = Provider.ctx;
      if (ctx?.oidc.route !== 'authorization') return undefined;
      const clientId = ctx.query.client_id;
      return typeof clientId === 'string' && wellFormed.test(clientId) ? clientId : undefined;
    },

    keep(cookie, { session: { accountId, upstream }, account, grants, text }) {
      const reads = here();
      if (!reads) return;
      reads.session = { cookie, text };
      // Somebody of an upstream provider is checked again in the course of the request, which may change their roles and
      // end their grants (upstream-session.ts): what was read before is not what holds then.
      if (upstream !== undefined) return;
      reads.grants = new Map(grants);
      if (typeof accountId === 'string') reads.people.set(accountId, Promise.resolve(account));
    },

    saysTheSame(cookie, text) {
      const session = here()?.session;
      if (session?.cookie !== cookie) return false;
      // oidc-provider writes members in the order in which it came to have them.
      return session.text === text || isDeepStrictEqual(JSON.parse(session.text), JSON.parse(text));
    },

    takeGrant(id) {
      const grants = here()?.grants;
      const grant = grants?.get(id);
      grants?.delete(id);
      return grant;
    },
  };
}
