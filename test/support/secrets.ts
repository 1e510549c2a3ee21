// What a test file has seen and a log must never show. Whoever sends or receives a credential notes it here, and a
// server that closes is asked whether any of it stands in its log: so every flow test also tests the log.

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
