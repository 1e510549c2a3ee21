// The JWS Compact Serialization (RFC 7515 §7.1) of what we sign beside oidc-provider: tokens of the token endpoint, logout
// tokens, status lists, answers of introspection. `typ` keeps one kind from being taken for another (RFC 8725 §3.11).

import type { Signer } from './signer.ts';

export type CompactSigner = (claims: object) => Promise<string>;

/** Signs one kind of token. @param typ undefined: an ID token, which has none */
export function compactSigner({ alg, kid, sign }: Signer, typ: string | undefined): CompactSigner {
  const start = `${encode({ alg, typ, kid })}.`;
  return async (claims) => {
    const signed = start + encode(claims);
    const signature = await sign(Buffer.from(signed, 'latin1'));
    return `${signed}.${signature.toString('base64url')}`;
  };
}

export const signCompact = (signer: Signer, typ: string, claims: object): Promise<string> =>
  compactSigner(signer, typ)(claims);

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
