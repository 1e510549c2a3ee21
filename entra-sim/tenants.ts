// Tenants and the directory that finds them by id, domain or alias.

import type { App } from './applications.ts';
import type { Clock } from './clock.ts';
import { stableGuid } from './guids.ts';
import type { Cloud } from './hosts.ts';
import { clouds } from './hosts.ts';
import type { UserFields } from './users.ts';
import { User } from './users.ts';

/** The one tenant that all personal Microsoft accounts live in. */
export const consumersTenantId = '9188040d-6c67-4c5b-b112-36a304b66dad';

export interface TenantFields {
  id?: string;
  cloud?: Cloud;
  domain?: string;
}

/** A class because a tenant lives on and its users change under a running test. */
export class Tenant {
  readonly key: string;
  readonly id: string;
  readonly cloud: Cloud;
  readonly domain: string;
  readonly clock: Clock;
  readonly users = new Map<string, User>();
  /** Ids of Conditional Access authentication contexts (`acrs`) that a sign-in here can satisfy. */
  authenticationContexts: readonly string[] = ['c1', 'c2'];
  /** Whether people may not consent themselves: then applications without admin consent meet AADSTS90094. */
  needsAdminConsent = false;
  readonly #consentedTo = new Set<App>();

  constructor(clock: Clock, key: string, fields: TenantFields = {}) {
    this.clock = clock;
    this.key = key;
    this.id = fields.id ?? stableGuid(key);
    this.cloud = fields.cloud ?? 'public';
    this.domain = fields.domain ?? `${key}.example`;
  }

  get loginHost(): string {
    return clouds[this.cloud].login.replace('{tenantid}', this.id);
  }

  get graphHost(): string {
    return clouds[this.cloud].graph;
  }

  get isConsumers(): boolean {
    return this.id === consumersTenantId;
  }

  user(key: string): User {
    const user = this.users.get(key);
    const known = [...this.users.keys()].join(', ');
    if (user === undefined) throw new Error(`${this.key} has no user '${key}'; it has ${known}`);
    return user;
  }

  addUser(key: string, fields: UserFields = {}): User {
    const user = new User(this, key, fields);
    this.admit(user);
    return user;
  }

  /** Invites someone else's account: a user object here with its own oid. */
  addGuest(key: string, home: User): User {
    const upn = `${home.upn.replace('@', '_')}#EXT#@${this.domain}`;
    return this.addUser(key, { name: home.name, upn, email: home.mail, guestOf: home });
  }

  admit(user: User): void {
    if (this.users.has(user.key)) throw new Error(`${this.key} has a user '${user.key}' already`);
    this.users.set(user.key, user);
  }

  remove(user: User): void {
    this.users.delete(user.key);
  }

  requireAdminConsent(yes = true): this {
    this.needsAdminConsent = yes;
    return this;
  }

  consentTo(app: App): this {
    this.#consentedTo.add(app);
    return this;
  }

  lacksConsentFor(app: App): boolean {
    return this.needsAdminConsent && !this.#consentedTo.has(app);
  }
}

export interface Directory {
  readonly tenants: ReadonlyMap<string, Tenant>;
  tenant(key: string): Tenant;
  add(key: string, fields?: TenantFields): Tenant;
  /** By GUID in any letter case, verified domain, or 'consumers'; only in the cloud of this login host. */
  find(identifier: string, loginHost: string): Tenant | undefined;
  /** 'alice', or 'fabrikam/mallory' where a name is not enough. */
  user(name: string): User;
}

export function createDirectory(clock: Clock): Directory {
  const tenants = new Map<string, Tenant>();

  function tenant(key: string): Tenant {
    const found = tenants.get(key);
    if (found === undefined) throw new Error(`no tenant '${key}'; there are ${[...tenants.keys()].join(', ')}`);
    return found;
  }

  return {
    tenants,
    tenant,
    add(key, fields = {}) {
      if (tenants.has(key)) throw new Error(`there is a tenant '${key}' already`);
      const added = new Tenant(clock, key, fields);
      tenants.set(key, added);
      return added;
    },
    find(identifier, loginHost) {
      const wanted = identifier.toLowerCase();
      const named = wanted === 'consumers' ? consumersTenantId : wanted;
      return [...tenants.values()].find(
        ({ id, domain, loginHost: host }) => host === loginHost && (id === named || domain === named),
      );
    },
    user(name) {
      const [first, second] = name.split('/');
      if (second !== undefined) return tenant(first!).user(second);
      const found = [...tenants.values()].flatMap(({ users }) => users.get(name) ?? []);
      if (found.length === 1) return found[0]!;
      if (found.length === 0) throw new Error(`no tenant has a user '${name}'`);
      throw new Error(`several tenants have a user '${name}': say 'tenant/${name}'`);
    },
  };
}
