// Reads the Cookie header (RFC 6265 §4.2.1), for all of our packages. Several headers are one list: node joins them
// with "; ". No reader takes one of two cookies of the same name.

import { VerificationError } from './errors.ts';

type CookieHeader = string | readonly string[] | undefined;

/**
 * The cookie of this name.
 * @throws {VerificationError} `invalid_request` where it is there more than once: somebody who can set cookies for a
 * parent domain can add one of the same name, and which comes first is theirs to say
 */
export function cookieNamed(header: CookieHeader, name: string): string | undefined {
  const [cookie, ...others] = cookiePairs(header).filter(([each]) => each === name);
  if (others.length > 0) throw new VerificationError('invalid_request', 'the cookie is there more than once');
  return cookie?.[1];
}

/** All of them, oldest first. Two of one name are as none: one of them is not ours, and the header does not say which. */
export function uniqueCookies(header: CookieHeader): ReadonlyMap<string, string> {
  const pairs = cookiePairs(header);
  const times = new Map<string, number>();
  for (const [name] of pairs) times.set(name, (times.get(name) ?? 0) + 1);
  return new Map(pairs.filter(([name]) => times.get(name) === 1));
}

function cookiePairs(header: CookieHeader): [name: string, value: string][] {
  const text = typeof header === 'string' ? header : (header ?? []).join('; ');
  return text.split(';').flatMap((pair): [string, string][] => {
    const at = pair.indexOf('=');
    return at === -1 ? [] : [[pair.slice(0, at).trim(), pair.slice(at + 1).trim()]];
  });
}
