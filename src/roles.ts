// From what Microsoft says of a person to the roles they have here, by the mapping of signet.yaml. Pure: the same facts
// and the same mapping give the same roles, and every yes and no has its reason. Roles that an administrator gave here
// (accounts.ts) come in addition.

/** For each app role, and for each group, the roles it gives here. */
export interface RoleMapping {
  appRoles: Readonly<Record<string, readonly string[]>>;
  groups: Readonly<Record<string, readonly string[]>>;
}

/** Absent is not empty: it says that Microsoft sends no groups at all, so nothing is known. */
export type GroupsKnown =
  | { kind: 'complete'; ids: readonly string[] }
  | { kind: 'absent' }
  | { kind: 'unavailable'; reason: string };

/** What one identity contributes. */
export interface RoleEvidence {
  appRoles: readonly string[];
  groups: GroupsKnown;
}

/** In alphabetical order, each once. What is not mapped gives nothing, whatever it is called. */
export function rolesOf(mapping: RoleMapping, evidence: readonly RoleEvidence[]): string[] {
  const given = evidence.flatMap((each) => sourcesOf(mapping).filter((source) => isMet(source, each)));
  return [...new Set(given.map(({ role }) => role))].sort();
}

export interface RoleExplanation {
  role: string;
  has: boolean;
  /** Sentences: why the role is there, or, of each way to it, why not. */
  because: string[];
}

/** Of every role that the person has, or could have by the mapping: whether, and why. */
export function explainRoles(
  mapping: RoleMapping, assigned: readonly string[], evidence: readonly RoleEvidence[],
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
}

function sourcesOf({ appRoles, groups }: RoleMapping): Source[] {
  const of = (kind: Source['kind'], record: RoleMapping['groups']) =>
    Object.entries(record).flatMap(([name, roles]) => roles.map((role) => ({ role, kind, name })));
  return [...of('app role', appRoles), ...of('group', groups)];
}

function isMet({ kind, name }: Source, { appRoles, groups }: RoleEvidence): boolean {
  if (kind === 'app role') return appRoles.includes(name);
  return groups.kind === 'complete' && groups.ids.includes(name);
}

function whyNot({ kind, name }: Source, evidence: readonly RoleEvidence[]): string {
  if (evidence.length === 0) return 'has never signed in with Microsoft';
  if (kind === 'app role') return `does not have the app role ${name}`;
  const kinds = evidence.map(({ groups }) => groups.kind);
  if (kinds.includes('complete')) return `is not in the group ${name}`;
  if (kinds.includes('unavailable')) return `whether in the group ${name} could not be learnt at the last sign-in`;
  return `whether in the group ${name} is not known: Microsoft sends no groups (no groups claim is configured)`;
}

export interface RoleChange {
  gains: string[];
  loses: string[];
}

/** What another mapping would change for one person. Roles given here stay, so they are neither gained nor lost. */
export function compareMappings(
  before: RoleMapping, after: RoleMapping, assigned: readonly string[], evidence: readonly RoleEvidence[],
): RoleChange {
  const had = new Set([...assigned, ...rolesOf(before, evidence)]);
  const has = new Set([...assigned, ...rolesOf(after, evidence)]);
  return {
    gains: [...has].filter((role) => !had.has(role)).sort(),
    loses: [...had].filter((role) => !has.has(role)).sort(),
  };
}
