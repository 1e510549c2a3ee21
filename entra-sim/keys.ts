// Signing keys and the JWKS. Entra's habits: no `alg`, `kid` = `x5t`, an `issuer` per key that names the tenant (or the
// template `{tenantid}` at common and organizations), work and personal accounts signed by different keys.

import type { KeyObject } from 'node:crypto';
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import type { Pair } from './certificates.ts';
import { makeSelfSigned, thumbprint } from './certificates.ts';
import { consumersTenantId } from './tenants.ts';

type Jwk = Record<string, unknown>;

export interface SigningKey {
  kid: string;
  privateKey: KeyObject;
  publicJwk: Jwk;
  /** The tenant in the key's issuer; undefined: whichever tenant is asked for. */
  ownedBy: string | undefined;
}

export interface Keys {
  /** Signs work accounts' tokens now. */
  readonly active: SigningKey;
  /** Signs personal accounts' tokens. */
  readonly consumer: SigningKey;
  /** Never published. */
  readonly rogue: SigningKey;
  /** A new key signs from now on; the old one stays published (an ordinary rollover). */
  rotate(): Promise<SigningKey>;
  /** Takes a key out of the JWKS (an emergency rollover when it was the active one: call rotate() first). */
  revoke(kid: string): void;
  /** Publishes `count` more keys that sign nothing. Their moduli are random numbers, which no verifier can tell. */
  add(count: number): void;
  /** Publishes a second, different key under the active key's kid, before it. */
  duplicateKid(): void;
  /** The active key's `issuer` in the JWKS becomes this; undefined restores it, null leaves the member out. */
  issuer(value: string | null | undefined): void;
  /** Publishes an elliptic-curve key; with `sameKid` it takes the active key's kid. */
  addEc(options?: { sameKid?: boolean }): void;
  /** Publishes a key with "use": "enc"; with `sameKid` the active key itself is marked so. */
  addEncryption(options?: { sameKid?: boolean }): void;
  /** Publishes the personal accounts' key at tenants too, under its own issuer. Entra does so at common. */
  publishConsumerKeyAtTenants(yes?: boolean): void;
  /** Publishes a key everywhere whose issuer names that tenant, and returns it for signing. */
  ofTenant(tenantId: string): Promise<SigningKey>;
  /** What the JWKS answers as Cache-Control. Default as Entra: "max-age=86400, private". */
  cacheControl(value: string): void;
  readonly currentCacheControl: string;
  /** Published again as at the start. */
  reset(): void;
  /** The JWKS that `tenant` answers with. */
  jwks(loginHost: string, tenant: string): { keys: Jwk[] };
}

export function createKeys(pairs: { work: Pair; consumer: Pair; rogue: Pair }): Keys {
  const work = signingKey(pairs.work, undefined);
  const consumer = signingKey(pairs.consumer, consumersTenantId);
  const rogue = signingKey(pairs.rogue, undefined);
  const entraCacheControl = 'max-age=86400, private';

  let active = work;
  let published: SigningKey[] = [work];
  let extra: Jwk[] = [];
  let activeIssuer: string | null | undefined;
  let activeUse = 'sig';
  let consumerKeyAtTenants = false;
  let cacheControl = entraCacheControl;

  function entry(key: SigningKey, loginHost: string, tenant: string): Jwk {
    const template = tenant === 'common' || tenant === 'organizations' ? '{tenantid}' : tenant;
    const issuer = `https://${loginHost}/${key.ownedBy ?? template}/v2.0`;
    if (key !== active) return { ...key.publicJwk, issuer };
    const jwk = { ...key.publicJwk, use: activeUse, issuer: activeIssuer ?? issuer };
    return activeIssuer === null ? { ...jwk, issuer: undefined } : jwk;
  }

  return {
    get active() {
      return active;
    },
    consumer,
    rogue,
    async rotate() {
      active = signingKey(await makeSelfSigned('accounts.accesscontrol.windows.net'), undefined);
      published = [...published, active];
      return active;
    },
    revoke(kid) {
      published = published.filter((key) => key.kid !== kid);
    },
    add(count) {
      extra = [...extra, ...Array.from({ length: count }, () => decoy())];
    },
    duplicateKid() {
      extra = [{ ...rogue.publicJwk, kid: active.kid }, ...extra];
    },
    issuer(value) {
      activeIssuer = value;
    },
    addEc({ sameKid = false } = {}) {
      const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const jwk = publicKey.export({ format: 'jwk' }) as Jwk;
      extra = [{ ...jwk, use: 'sig', kid: sameKid ? active.kid : randomKid() }, ...extra];
    },
    addEncryption({ sameKid = false } = {}) {
      if (sameKid) activeUse = 'enc';
      else extra = [{ ...decoy(), use: 'enc' }, ...extra];
    },
    publishConsumerKeyAtTenants(yes = true) {
      consumerKeyAtTenants = yes;
    },
    async ofTenant(tenantId) {
      const key = signingKey(await makeSelfSigned('accounts.accesscontrol.windows.net'), tenantId);
      published = [...published, key];
      return key;
    },
    cacheControl(value) {
      cacheControl = value;
    },
    get currentCacheControl() {
      return cacheControl;
    },
    reset() {
      [active, published, extra, activeIssuer, activeUse] = [work, [work], [], undefined, 'sig'];
      [consumerKeyAtTenants, cacheControl] = [false, entraCacheControl];
    },
    jwks(loginHost, tenant) {
      const forConsumers = tenant === 'consumers' || tenant === consumersTenantId;
      const workKeys = forConsumers ? [] : published;
      const withConsumer = forConsumers || tenant === 'common' || consumerKeyAtTenants;
      const keys = [...workKeys, ...(withConsumer ? [consumer] : [])];
      return { keys: [...extra, ...keys.map((key) => entry(key, loginHost, tenant))] };
    },
  };
}

function signingKey({ certificate, key }: Pair, ownedBy: string | undefined): SigningKey {
  const kid = thumbprint(certificate, 'sha1');
  const { kty, n, e } = createPublicKey(certificate).export({ format: 'jwk' });
  const x5c = [certificate.replace(/-----[^-]+-----|\s/g, '')];
  const publicJwk = { kty, use: 'sig', kid, x5t: kid, n, e, x5c, cloud_instance_name: 'microsoftonline.com' };
  return { kid, privateKey: createPrivateKey(key), publicJwk, ownedBy };
}

const randomKid = () => randomBytes(20).toString('base64url');

function decoy(): Jwk {
  const modulus = randomBytes(256);
  modulus[0]! |= 0x80; // the full 2048 bits, or a strict importer refuses the key for its length
  return { kty: 'RSA', use: 'sig', kid: randomKid(), n: modulus.toString('base64url'), e: 'AQAB' };
}
