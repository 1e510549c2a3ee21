// App registrations: credentials, redirect URIs, optional claims. One registration serves every tenant that its
// audience admits.

import type { KeyObject } from 'node:crypto';
import { createHash, randomBytes, randomUUID, X509Certificate } from 'node:crypto';
import type { Pair } from './certificates.ts';
import { makeSelfSigned, thumbprint } from './certificates.ts';
import type { Clock } from './clock.ts';
import type { Tenant } from './tenants.ts';

/** signInAudience of the manifest. */
type Audience =
  | 'AzureADMyOrg'
  | 'AzureADMultipleOrgs'
  | 'AzureADandPersonalMicrosoftAccount'
  | 'PersonalMicrosoftAccount';

type OptionalClaim =
  | 'acct'
  | 'auth_time'
  | 'email'
  | 'family_name'
  | 'given_name'
  | 'idp'
  | 'login_hint'
  | 'sid'
  | 'upn'
  | 'xms_edov';

export interface AppFields {
  clientId?: string;
  /** Shown by the account picker. */
  displayName?: string;
  audience?: Audience;
  redirectUris?: readonly string[];
  optionalClaims?: readonly OptionalClaim[];
  frontChannelLogoutUrl?: string;
  secret?: string;
}

interface FederatedCredential {
  issuer: string;
  subject: string;
  /** Entra's recommended audience is the default. */
  audience?: string;
  /** The outside issuer's key; Entra accepts RS256 alone. */
  publicKey: KeyObject;
}

interface CertificateOptions {
  expired?: boolean;
  /** Default true. */
  register?: boolean;
}

interface Secret {
  value: string;
  expiresAtMs: number;
}

/** A class because a registration lives on: credentials expire and come back under a running test. */
export class App {
  readonly clientId: string;
  readonly displayName: string;
  readonly home: Tenant;
  audience: Audience;
  redirectUris: string[];
  optionalClaims: Set<OptionalClaim>;
  frontChannelLogoutUrl: string | undefined;
  /** groupMembershipClaims of the manifest: whether tokens carry groups. */
  emitsGroups = true;
  /** How a token says that there are too many groups: `_claim_names` (code flow) or `hasgroups` (implicit flow). */
  overage: 'claim_names' | 'hasgroups' = 'claim_names';
  /** "Assignment required" of the enterprise application: unassigned users meet AADSTS50105. */
  assignmentRequired = true;
  /** Graph permissions that are consented to beyond User.Read. */
  graphScopes: readonly string[] = [];
  readonly secrets: Secret[] = [];
  readonly certificates = new Map<string, X509Certificate>();
  readonly federatedCredentials: FederatedCredential[] = [];
  readonly #clock: Clock;

  constructor(clock: Clock, home: Tenant, fields: AppFields = {}) {
    this.#clock = clock;
    this.home = home;
    this.clientId = fields.clientId ?? randomUUID();
    this.displayName = fields.displayName ?? 'Signet';
    this.audience = fields.audience ?? 'AzureADMyOrg';
    this.redirectUris = [...(fields.redirectUris ?? [])];
    this.optionalClaims = new Set(fields.optionalClaims ?? ['email', 'login_hint', 'sid']);
    this.frontChannelLogoutUrl = fields.frontChannelLogoutUrl;
    this.addSecret(fields.secret);
  }

  /** The newest client secret. */
  get secret(): string {
    const newest = this.secrets.at(-1);
    if (newest === undefined) throw new Error(`application ${this.clientId} has no secret left; addSecret() makes one`);
    return newest.value;
  }

  addSecret(value = `${randomBytes(3).toString('hex')}~${randomBytes(24).toString('base64url')}`): string {
    this.secrets.push({ value, expiresAtMs: Infinity });
    return value;
  }

  /** Expired secrets meet AADSTS7000222. Without a value: all of them. */
  expireSecret(value?: string): this {
    const meant = this.secrets.filter((each) => value === undefined || each.value === value);
    for (const each of meant) each.expiresAtMs = this.#clock.now();
    return this;
  }

  /** Removed secrets meet AADSTS7000215. */
  removeSecret(value: string): this {
    this.secrets.splice(0, Infinity, ...this.secrets.filter((each) => each.value !== value));
    return this;
  }

  registerCertificate(pem: string): this {
    this.certificates.set(thumbprint(pem), new X509Certificate(pem));
    return this;
  }

  unregisterCertificate(pem: string): this {
    this.certificates.delete(thumbprint(pem));
    return this;
  }

  /** Makes a client certificate and registers it. `thumbprintSha256` is hex without colons, as MSAL wants it. */
  async newCertificate(options: CertificateOptions = {}): Promise<Pair & { thumbprintSha256: string }> {
    const pair = await makeSelfSigned(`client-${this.clientId}`, options);
    if (options.register ?? true) this.registerCertificate(pair.certificate);
    const der = new X509Certificate(pair.certificate).raw;
    return { ...pair, thumbprintSha256: createHash('sha256').update(der).digest('hex') };
  }

  federate(credential: FederatedCredential): this {
    this.federatedCredentials.push(credential);
    return this;
  }

  addRedirectUri(...uris: string[]): this {
    this.redirectUris.push(...uris);
    return this;
  }

  /** Replaces the optional claims of the ID token. */
  claims(...names: OptionalClaim[]): this {
    this.optionalClaims = new Set(names);
    return this;
  }

  admits(tenant: Tenant): boolean {
    if (tenant.isConsumers) return this.audience.endsWith('PersonalMicrosoftAccount');
    if (this.audience === 'AzureADMyOrg') return tenant === this.home;
    return this.audience !== 'PersonalMicrosoftAccount';
  }
}
