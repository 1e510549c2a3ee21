// An options object is held to the members that it can have, and each to its type: a slip in a name (`audiance`) would
// otherwise leave out what it was meant to say, and where that is a check, nobody would notice.

const articleOf = {
  string: 'a string',
  number: 'a number',
  boolean: 'true or false',
  function: 'a function',
  object: 'an object',
};

type OptionKind = keyof typeof articleOf | 'checked elsewhere';

/** Each member of `T`, so that one that is added to the type and forgotten here does not compile. */
type Members<T> = Record<keyof Required<T>, OptionKind>;

/**
 * A check for options of one kind: it throws a TypeError for a member that there is not, with the nearest that there
 * is, and for one of another type. What a value must be beyond its type is checked where it is read.
 * @param of whose options, for the message
 */
export function optionsCheck<T>(of: string, members: Members<T>): (options: unknown) => void {
  const kinds = new Map(Object.entries<OptionKind>(members));
  return (options) => {
    if (typeof options !== 'object' || options === null || Array.isArray(options)) {
      throw new TypeError(`${of} needs its options as an object`);
    }
    for (const [name, value] of Object.entries(options)) {
      const kind = kinds.get(name);
      if (kind === undefined) throw new TypeError(`${of} has no option ${name}${suggestion(name, [...kinds.keys()])}`);
      if (value === undefined || kind === 'checked elsewhere') continue;
      if (typeof value !== kind || value === null) throw new TypeError(`${of}: ${name} must be ${articleOf[kind]}`);
    }
  };
}

function suggestion(name: string, known: readonly string[]): string {
  const ranked = known.map((other) => ({ other, away: unlikeness(name, other) })).sort((a, b) => a.away - b.away);
  const [nearest] = ranked;
  // With more than half of its letters to change, it is likelier another name than a slip.
  if (nearest !== undefined && nearest.away <= 0.5) return `: did you mean ${nearest.other}?`;
  return `; it has ${known.join(', ')}`;
}

/** From 0, the same, to 1 and more. `timeout` is as good as `timeoutSeconds`. */
function unlikeness(name: string, other: string): number {
  const [a, b] = [name.toLowerCase(), other.toLowerCase()];
  if (a.length > 3 && (b.startsWith(a) || a.startsWith(b))) return 1 / (1 + Math.min(a.length, b.length));
  return editDistance(a, b) / b.length;
}

/** Insertions, deletions and replacements from one text to the other (Levenshtein). */
export function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (const letter of from.split('')) {
    let [diagonal = 0, ...above] = row;
    let left = diagonal + 1;
    const next = above.map((up, at) => {
      const replaced = diagonal + (letter === to[at] ? 0 : 1);
      diagonal = up;
      left = Math.min(replaced, up + 1, left + 1);
      return left;
    });
    row = [(row[0] ?? 0) + 1, ...next];
  }
  return row.at(-1) ?? 0;
}
