// The JWS Compact Serialization (RFC 7515 §7.1) of what we sign beside oidc-provider: refresh tokens, logout tokens,
// status lists, answers of introspection. `typ` keeps one kind from being taken for another (RFC 8725 §3.11).

import type { Signer } from './signer.ts';

export async function signCompact({ alg, kid, sign }: Signer, typ: string, claims: object): Promise<string> {
  const signed = `${encode({ alg, typ, kid })}.${encode(claims)}`;
  const signature = await sign(Buffer.from(signed));
  return `${signed}.${signature.toString('base64url')}`;
}

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
