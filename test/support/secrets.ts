// What a log, the audit trail, an answer and the output of a command must never show. Whoever sends or receives a
// credential notes it here, and a server that closes is asked whether any of it stands in what it wrote: so every flow
// test also tests that. The private half of a key is known by its form wherever it stands, also of a key that nobody
// noted. SECURITY.md says what is searched.

import { createPrivateKey } from 'node:crypto';

const seen = new Map<string, string>();

/** At the beginning of a test file. */
export const forgetSecrets = (): void => seen.clear();

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

/** Notes the members of a private half (RFC 7518 §6.3.2), as base64url, base64 and hex spell them. */
export function notePrivateHalf(pkcs8: Buffer): void {
  const key = createPrivateKey({ key: pkcs8, type: 'pkcs8', format: 'der' });
  const { d, p, q, dp, dq, qi } = key.export({ format: 'jwk' });
  for (const value of [d, p, q, dp, dq, qi]) {
    const bytes = Buffer.from(value!, 'base64url');
    for (const encoding of ['base64url', 'base64', 'hex'] as const) seen.set(bytes.toString(encoding), privateHalf);
  }
}

const privateHalf = 'a private half of a signing key';
const member = '(?:d|p|q|dp|dq|qi|oth)'; // RFC 7518 §6.3.2
const sealedValue = 'a sealed value';

const keyMaterial: Record<string, RegExp> = {
  'a private member of a JWK': new RegExp(
    [
      String.raw`\\*"${member}\\*"\s*:`, // JSON, also inside of JSON
      // As util.inspect prints it, in colour or over two lines, or as name=value. A value is long: an EC key's has 43.
      String.raw`(?:(?<![\w$-])|(?<=\\n))${member}\s*[:=](?:\s|\\n|(?:\x1b|\\u001b)\[\d+m)*\\*['"\x60]?[\w+/-]{40}`,
    ].join('|'),
  ),
  'a private key': new RegExp(
    [
      'PRIVATE KEY|sealed_?private|privateExponent',
      'BgkqhkiG9w0BAQEFAASC|MII[\\w+/-]{3}IBAAKC', // PKCS #8 and PKCS #1 of RSA, in base64
      '06092a864886f70d0101010500048', // PKCS #8 in hex
    ].join('|'),
    'i',
  ),
  [sealedValue]: /v1\.[\w-]+\.[\w-]{40}/, // keys/seal.ts
};

/** The kinds of key material that stand in `text`, sealed or not. */
export function keyMaterialIn(text: string): string[] {
  return Object.entries(keyMaterial)
    .filter(([, form]) => form.test(text))
    .map(([kind]) => kind);
}

/**
 * Nobody is sent a private half. (Tokens and codes are what was asked for, and a cookie may be sealed.)
 * @throws an error that names the kind
 */
export function checkAnswer(what: string, { headers }: { headers: Headers }, body: string): void {
  const inHeaders = keyMaterialIn(JSON.stringify([...headers])).filter((kind) => kind !== sealedValue);
  const noted = secretsIn(body).filter((kind) => kind === privateHalf);
  const found = [...inHeaders, ...keyMaterialIn(body), ...noted];
  if (found.length > 0) throw new Error(`the answer of ${what} shows ${found.join(', ')}`);
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
