// What somebody may have meant by a name that is not known.

import { closest, distance } from 'fastest-levenshtein';

/** The nearest name, unless more than half of it would have to be typed anew: then it is no guess worth printing. */
export function nearest(name: string, known: readonly string[], letters = (near: string) => near.length) {
  if (known.length === 0) return undefined;
  const near = closest(name, [...known]);
  return distance(name.toLowerCase(), near.toLowerCase()) * 2 <= letters(near) ? near : undefined;
}
