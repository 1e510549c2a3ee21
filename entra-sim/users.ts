// A user object in one tenant. A guest is a user object of the resource tenant with an own oid, which points to the
// account at home; that is why one person may have several (tid, oid) pairs, and e-mail says nothing about which.

import { randomUUID } from 'node:crypto';

import type { App } from './applications.ts';
import { stableGuid } from './guids.ts';
import type { Tenant } from './tenants.ts';

/** Above this, an ID token names no groups and points to Graph. */
export const groupsInToken = 200;

export interface UserFields {
  name?: string;
  givenName?: string | undefined;
  familyName?: string | undefined;
  /** userPrincipalName: what `preferred_username` shows. */
  upn?: string;
  /** The `mail` attribute. Undefined: no `email` claim. Any administrator of the tenant may write anything here. */
  email?: string | undefined;
  oid?: string;
  /** Object ids of the groups that the user is in directly, or how many of the tenant's. */
  groups?: number | readonly string[];
  /** Groups reached only through other groups: in the claim and in transitiveMemberOf, not in memberOf. */
  nestedGroups?: number | readonly string[];
  roles?: readonly string[];
  /** The user's account at home, which makes this one a guest. */
  guestOf?: User;
}

/** A refusal that stays until lifted: at sign-in as a page, at the token endpoint as JSON. */
interface Refusal {
  number: number;
  claims?: string;
}

/** A class because a user lives on: tests change it between two refreshes. Every change returns the user. */
export class User {
  readonly key: string;
  oid: string;
  name: string;
  givenName: string | undefined;
  familyName: string | undefined;
  upn: string;
  mail: string | undefined;
  /** `xms_edov` as sent where the application asks for it: whether the tenant owns the e-mail's domain. */
  edov: unknown;
  groupIds: string[];
  nestedGroupIds: string[];
  roleNames: string[] = [];
  home: User | undefined;
  disabled = false;
  deleted = false;
  refusal: Refusal | undefined;
  /** Refresh tokens issued before this moment are void. Milliseconds by the simulator's clock. */
  sessionsValidFromMs = 0;
  tenant: Tenant;
  readonly #unassigned = new Set<App>();

  constructor(tenant: Tenant, key: string, fields: UserFields = {}) {
    const name = fields.name ?? `${key.charAt(0).toUpperCase()}${key.slice(1)} Example`;
    const [givenName, familyName] = name.split(' ');
    this.tenant = tenant;
    this.key = key;
    this.oid = fields.oid ?? stableGuid(`${tenant.key}/${key}`);
    this.name = name;
    this.givenName = 'givenName' in fields ? fields.givenName : givenName;
    this.familyName = 'familyName' in fields ? fields.familyName : familyName;
    this.upn = fields.upn ?? `${key}@${tenant.domain}`;
    this.mail = 'email' in fields ? fields.email : this.upn;
    this.edov = this.mail?.endsWith(`@${tenant.domain}`);
    this.groupIds = [];
    this.nestedGroupIds = [];
    this.groups(fields.groups ?? 0, fields.nestedGroups ?? 0);
    this.roleNames = [...(fields.roles ?? [])];
    this.home = fields.guestOf;
  }

  get isGuest(): boolean {
    return this.home !== undefined;
  }

  get allGroupIds(): string[] {
    return [...new Set([...this.groupIds, ...this.nestedGroupIds])];
  }

  isAssignedTo(app: App): boolean {
    return !this.#unassigned.has(app);
  }

  disable(): this {
    this.disabled = true;
    return this;
  }

  enable(): this {
    this.disabled = false;
    return this;
  }

  delete(): this {
    this.deleted = true;
    return this;
  }

  /** Marriage, a new surname, a new UPN: oid and pairwise sub stay. */
  rename(name: string, upn: string = this.upn): this {
    this.name = name;
    [this.givenName, this.familyName] = name.split(' ');
    this.upn = upn;
    return this;
  }

  /** Appears in another tenant and is gone from this one. `keepOid` makes a collision that (tid, oid) must survive. */
  moveTo(tenant: Tenant, { keepOid = false } = {}): this {
    this.tenant.remove(this);
    this.tenant = tenant;
    if (!keepOid) this.oid = randomUUID();
    tenant.admit(this);
    return this;
  }

  /** Object ids of groups, or how many: then the tenant's first ones, and after them the nested. */
  groups(groups: number | readonly string[], nested: number | readonly string[] = 0): this {
    this.groupIds = groupIds(this.tenant, groups, 0);
    this.nestedGroupIds = groupIds(this.tenant, nested, this.groupIds.length);
    return this;
  }

  roles(names: readonly string[]): this {
    this.roleNames = [...names];
    return this;
  }

  unassign(app: App): this {
    this.#unassigned.add(app);
    return this;
  }

  assign(app: App): this {
    this.#unassigned.delete(app);
    return this;
  }

  email(mail: string | undefined): this {
    this.mail = mail;
    return this;
  }

  /** Sends `xms_edov` with exactly this value: true, '1', 1, 'true', false, 0, {}, …; undefined: not at all. */
  xmsEdov(value: unknown): this {
    this.edov = value;
    return this;
  }

  /** Every sign-in and refresh is answered with this error; undefined lifts it. */
  refuse(number: number | undefined, claims?: string): this {
    this.refusal = number === undefined ? undefined : { number, ...(claims === undefined ? {} : { claims }) };
    return this;
  }

  /** What an administrator's "Revoke sessions" and a password change do: older refresh tokens end (AADSTS50173). */
  revokeSessions(): this {
    this.sessionsValidFromMs = this.tenant.clock.now() + 1;
    return this;
  }
}

function groupIds({ key }: Tenant, groups: number | readonly string[], from: number): string[] {
  if (typeof groups !== 'number') return [...groups];
  return Array.from({ length: groups }, (_, index) => stableGuid(`${key}/group/${from + index}`));
}
