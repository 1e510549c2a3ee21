// The keys of the JWKS (RFC 7517) as oidc-provider wants them (lib/helpers/keystore.js).

import { createPublicKey } from 'node:crypto';
import { ExternalSigningKey } from 'oidc-provider';
import type { PublicJwk, Signer } from '../keys/signer.ts';

/** A published key as oidc-provider wants it; only the active one can sign, and no private half is ever exported. */
export class PublishedKey extends ExternalSigningKey {
  readonly #jwk: PublicJwk;
  readonly #sign: Signer['sign'] | undefined;

  constructor(jwk: PublicJwk, sign?: Signer['sign']) {
    super();
    this.#jwk = jwk;
    this.#sign = sign;
    Object.assign(this, { kid: jwk.kid, alg: jwk.alg });
  }

  override keyObject() {
    return createPublicKey({ key: { ...this.#jwk }, format: 'jwk' });
  }

  override async sign(data: Uint8Array) {
    if (!this.#sign) throw new Error(`key ${this.#jwk.kid} is published for verification only`);
    return this.#sign(data);
  }
}
