// What a log, the audit trail and the output of a command must never show. Whoever sends or receives a credential notes
// it here, and a server that closes is asked whether any of it stands in what it wrote: so every flow test also tests
// that. No half of a key that is private is ever noted, but by its form it is known wherever it stands.

const seen = new Map<string, string>();

/** Shorter values (an empty cookie, "yes") would be found by chance. */
const shortest = 12;

/** Notes a credential under the name of its kind, which is all that a failure prints. */
export function noteSecret(kind: string, value: string | null | undefined): void {
  if (!value || value.length < shortest) return;
  seen.set(value, kind);
  seen.set(encodeURIComponent(value), kind);
  if (kind !== 'refresh token' || !value.includes('.')) return;
  // A signed refresh token is an envelope; what opens a grant is the handle in it.
  const [, payload = ''] = value.split('.');
  const { jti } = parse(Buffer.from(payload, 'base64url').toString());
  if (jti) seen.set(jti, 'refresh token handle');
}

const keyMaterial: Record<string, RegExp> = {
  'a private member of a JWK': /\\*"(?:d|p|q|dp|dq|qi|oth)\\*"\s*:/, // RFC 7518 §6.3.2, also as JSON inside of JSON
  'a private key': /PRIVATE KEY|sealed_?private/i,
  'a sealed value': /v1\.[\w-]+\.[\w-]{40}/, // keys/seal.ts
};

/** The kinds of key material that stand in `text`, sealed or not. */
export function keyMaterialIn(text: string): string[] {
  return Object.entries(keyMaterial).filter(([, form]) => form.test(text)).map(([kind]) => kind);
}

/** All that should not stand in a text that was written for somebody to read. */
export function leaksIn(text: string): string[] {
  return [...secretsIn(text), ...keyMaterialIn(text)];
}

/** The kinds of credentials that stand in `text`. */
export function secretsIn(text: string): string[] {
  return [...new Set([...seen].filter(([value]) => text.includes(value)).map(([, kind]) => kind))].sort();
}

/** How many credentials were noted so far. */
export const secretsSeen = () => seen.size;

// A test may send what is no JSON inside.
function parse(text: string): { jti?: string } {
  try {
    return JSON.parse(text) as { jti?: string };
  } catch {
    return {};
  }
}
