// Maps what Microsoft says of a person to the roles they have here, as signet.yaml has it. Pure: the same facts
// and the same mapping give the same roles, and every yes and no has its reason. Roles that an administrator gave here
// (accounts.ts) come in addition.

type RolesByName = Readonly<Record<string, readonly string[]>>;

/** For each app role, and for each group, the roles it gives here. */
export interface RoleMapping {
  /** By tenant (its GUID): who has an app role in a tenant is for the administrator of that tenant to say. */
  appRoles: Readonly<Record<string, RolesByName>>;
  groups: RolesByName;
}

/** As it stands under entra.roles. */
interface WrittenMapping {
  /** Those of the one tenant that is configured. */
  appRoles: RolesByName;
  /** Those of each, where people come from several. */
  tenants: Readonly<Record<string, { appRoles: RolesByName }>>;
  groups: RolesByName;
}

export function mappingOf(tenant: string, { appRoles, tenants, groups }: WrittenMapping): RoleMapping {
  const ofEach = Object.entries(tenants).map(([tid, each]) => [tid, each.appRoles] as const);
  return { appRoles: Object.fromEntries([[tenant, appRoles], ...ofEach]), groups };
}

/** Absent is not empty: it says that Microsoft sends no groups at all, so nothing is known. */
type GroupsKnown =
  | { kind: 'complete'; ids: readonly string[] }
  | { kind: 'absent' }
  | { kind: 'unavailable'; reason: string };

/** What one identity contributes. */
export interface RoleEvidence {
  tid: string;
  appRoles: readonly string[];
  groups: GroupsKnown;
}

/** In alphabetical order, each once. What is not mapped gives nothing, whatever it is called. */
export function rolesOf(mapping: RoleMapping, evidence: readonly RoleEvidence[]): string[] {
  const given = evidence.flatMap((each) => sourcesOf(mapping).filter((source) => isMet(source, each)));
  return [...new Set(given.map(({ role }) => role))].sort();
}

interface RoleExplanation {
  role: string;
  has: boolean;
  /** Sentences: why the role is there, or, of each way to it, why not. */
  because: string[];
}

/** Of every role that the person has, or could have by the mapping: whether, and why. */
export function explainRoles(
  mapping: RoleMapping,
  assigned: readonly string[],
  evidence: readonly RoleEvidence[],
): RoleExplanation[] {
  const sources = sourcesOf(mapping);
  const roles = [...new Set([...assigned, ...sources.map(({ role }) => role)])].sort();
  return roles.map((role) => {
    const ways = sources.filter((source) => source.role === role);
    const met = ways.filter((way) => evidence.some((each) => isMet(way, each)));
    const reasons = [
      ...(assigned.includes(role) ? ['given here by an administrator'] : []),
      ...met.map(({ kind, name }) => (kind === 'app role' ? `has the app role ${name}` : `is in the group ${name}`)),
    ];
    if (reasons.length > 0) return { role, has: true, because: reasons };
    return { role, has: false, because: ways.map((way) => whyNot(way, evidence)) };
  });
}

interface Source {
  role: string;
  kind: 'app role' | 'group';
  name: string;
  /** Of an app role: where it has to be given. */
  tid?: string;
}

function sourcesOf({ appRoles, groups }: RoleMapping): Source[] {
  const of = (source: Pick<Source, 'kind' | 'tid'>, record: RolesByName) =>
    Object.entries(record).flatMap(([name, roles]) => roles.map((role) => ({ ...source, role, name })));
  return [
    ...Object.entries(appRoles).flatMap(([tid, ofTenant]) => of({ kind: 'app role', tid }, ofTenant)),
    ...of({ kind: 'group' }, groups),
  ];
}

function isMet({ kind, name, tid }: Source, evidence: RoleEvidence): boolean {
  if (kind === 'app role') return evidence.tid === tid && evidence.appRoles.includes(name);
  // Microsoft names groups, by GUIDs that are its own: no other tenant has one of ours.
  return evidence.groups.kind === 'complete' && evidence.groups.ids.includes(name);
}

function whyNot({ kind, name, tid }: Source, evidence: readonly RoleEvidence[]): string {
  if (evidence.length === 0) return 'has never signed in with Microsoft';
  if (kind === 'app role') {
    const elsewhere = evidence.some(({ appRoles }) => appRoles.includes(name));
    return elsewhere ? `has the app role ${name}, but not in the tenant ${tid}` : `does not have the app role ${name}`;
  }
  const kinds = evidence.map(({ groups }) => groups.kind);
  if (kinds.includes('complete')) return `is not in the group ${name}`;
  if (kinds.includes('unavailable')) return `whether in the group ${name} could not be learnt at the last sign-in`;
  return `whether in the group ${name} is not known: Microsoft sends no groups (no groups claim is configured)`;
}

interface RoleChange {
  gains: string[];
  loses: string[];
}

/** What another mapping would change for one person. Roles given here stay, so they are neither gained nor lost. */
export function compareMappings(
  before: RoleMapping,
  after: RoleMapping,
  assigned: readonly string[],
  evidence: readonly RoleEvidence[],
): RoleChange {
  const had = new Set([...assigned, ...rolesOf(before, evidence)]);
  const has = new Set([...assigned, ...rolesOf(after, evidence)]);
  return {
    gains: [...has].filter((role) => !had.has(role)).sort(),
    loses: [...had].filter((role) => !has.has(role)).sort(),
  };
}
