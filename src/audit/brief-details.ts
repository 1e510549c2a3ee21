// The detail of `token.issued` as it is stored. Such rows are most of the trail, one for each token request, so theirs is a
// short array in place of an object: grant type, audience, scope, kinds of tokens. Readers of the trail see the object.

const grantTypes = new Map([
  ['refresh_token', 'r'],
  ['authorization_code', 'c'],
  ['client_credentials', 's'],
]);
const kindsOfTokens = new Map([
  ['access', 'a'],
  ['id', 'i'],
  ['refresh', 'r'],
]);
// OpenID Connect Core §5.4 and §11. A scope that is not among them stays as it is, behind a space.
const scopes = new Map([
  ['openid', 'o'],
  ['profile', 'p'],
  ['email', 'e'],
  ['address', 'a'],
  ['phone', 't'],
  ['offline_access', 'f'],
]);
const members = ['grantType', 'audience', 'scope', 'kinds'];

/** As JSON; an array where the detail says nothing beyond what one has room for. Undefined members are left out. */
export function briefJson(detail: Record<string, unknown>): string {
  const { grantType, audience, scope, kinds } = detail;
  const isBrief =
    Object.keys(detail).every((name) => members.includes(name)) &&
    ![grantType, audience, scope, kinds].includes(null) &&
    (kinds === undefined || isKinds(kinds));
  if (!isBrief) return JSON.stringify(detail);
  return JSON.stringify([
    shortened(grantType) ?? null,
    audience ?? null,
    shortenedScope(scope) ?? null,
    kinds === undefined ? null : (kinds as string[]).map((kind) => kindsOfTokens.get(kind)).join(''),
  ]);
}

/** What `briefJson`, or JSON.stringify, made of a detail. */
export function detailOf(json: string): Record<string, unknown> {
  const stored = JSON.parse(json) as Record<string, unknown> | unknown[];
  if (!Array.isArray(stored)) return stored;
  const [grantType, audience, scope, kinds] = stored;
  const known = {
    grantType: keyOf(grantTypes, grantType) ?? grantType,
    audience,
    scope: typeof scope === 'string' ? wholeScope(scope) : scope,
    kinds: typeof kinds === 'string' ? [...kinds].map((letter) => keyOf(kindsOfTokens, letter)) : kinds,
  };
  return Object.fromEntries(Object.entries(known).filter(([, value]) => value !== null));
}

function isKinds(value: unknown): boolean {
  return Array.isArray(value) && value.every((kind) => kindsOfTokens.has(kind));
}

// A grant type that is itself one of the letters would be read as another one; there is none (RFC 6749 §8.3 registers them).
function shortened(grantType: unknown): unknown {
  return typeof grantType === 'string' ? (grantTypes.get(grantType) ?? grantType) : grantType;
}

// In the order that was asked for: letters, then the first scope that has none and all that follows it.
function shortenedScope(scope: unknown): unknown {
  if (typeof scope !== 'string') return scope;
  const words = scope.split(' ');
  const others = words.findIndex((word) => !scopes.has(word));
  const known = others < 0 ? words : words.slice(0, others);
  const letters = known.map((word) => scopes.get(word)).join('');
  return others < 0 ? letters : `${letters} ${words.slice(others).join(' ')}`;
}

function wholeScope(stored: string): string {
  const space = stored.indexOf(' ');
  const letters = space < 0 ? stored : stored.slice(0, space);
  const known = [...letters].map((letter) => keyOf(scopes, letter));
  return [...known, ...(space < 0 ? [] : [stored.slice(space + 1)])].join(' ');
}

function keyOf(letters: Map<string, string>, letter: unknown): string | undefined {
  return [...letters].find(([, short]) => short === letter)?.[0];
}
