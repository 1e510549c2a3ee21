// Suggests what somebody may have meant by a name that is not known.

import { editDistance } from '../verifier/known-options.ts';

/** The nearest name, unless more than half of it would have to be typed anew: then it is no guess worth printing. */
export function nearest(name: string, known: readonly string[], letters = (near: string) => near.length) {
  const [near] = known.toSorted((one, other) => editDistance(name, one) - editDistance(name, other));
  if (near === undefined) return undefined;
  return editDistance(name.toLowerCase(), near.toLowerCase()) * 2 <= letters(near) ? near : undefined;
}
