// The ID tokens that no product may accept: each row of the list of what msal-node lets through, as a doctoring. A test
// that runs over this list says more than one that picks its favourites.

import { randomUUID } from 'node:crypto';

import type { Claims, IdTokenDoctoring } from './id-token.ts';
import type { Tenant } from './tenants.ts';

interface HostileIdToken {
  name: string;
  doctoring: IdTokenDoctoring;
  /** Whether msal-node 7.2.3 refuses it by itself: it checks the nonce and that there is a token, and nothing more. */
  refusedByMsal?: true;
}

/** For a sign-in at `tenant`. `other` is a tenant that the product does not admit, `victim` an oid to impersonate. */
export function hostileIdTokens(tenant: Tenant, other: Tenant, victim: string = randomUUID()): HostileIdToken[] {
  const login = `https://${tenant.loginHost}`;
  const day = 86_400;
  const later = (name: string, seconds: number) => (honest: Claims) => ({ [name]: (honest[name] as number) + seconds });
  const issuer = (iss: string): IdTokenDoctoring => ({ claims: { iss } });
  const lacks = (...drop: string[]): IdTokenDoctoring => ({ drop });

  return [
    { name: 'another nonce', doctoring: { claims: { nonce: randomUUID() } }, refusedByMsal: true },
    { name: 'no nonce', doctoring: lacks('nonce'), refusedByMsal: true },
    { name: 'no ID token', doctoring: { absent: true }, refusedByMsal: true },
    { name: 'no claims at all', doctoring: { claims: (honest) => honest, drop: everyClaim }, refusedByMsal: true },
    { name: 'not a JWT', doctoring: { raw: 'not-a-jwt' }, refusedByMsal: true },

    { name: 'signed by a rogue key under a known kid', doctoring: { sign: 'rogue' } },
    { name: 'signed by a rogue key under an unknown kid', doctoring: { sign: 'rogue-kid' } },
    { name: 'edited after signing', doctoring: { sign: 'tampered', claims: { oid: victim } } },
    { name: 'alg none', doctoring: { sign: 'none' } },
    { name: 'HS256 with the client secret', doctoring: { sign: 'hs256-secret' } },
    { name: 'no kid', doctoring: { header: { kid: undefined } } },
    { name: "signed by the personal accounts' key", doctoring: { sign: 'consumer' } },
    { name: "signed by another tenant's key", doctoring: { sign: 'other-tenant' } },

    { name: 'another audience', doctoring: { claims: { aud: randomUUID() } } },
    { name: 'an audience array', doctoring: { claims: ({ aud }) => ({ aud: [aud, randomUUID()] }) } },
    { name: 'no audience', doctoring: lacks('aud') },

    { name: 'an issuer on another host', doctoring: issuer(`https://login.elsewhere.example/${tenant.id}/v2.0`) },
    { name: "another tenant's issuer", doctoring: issuer(`${login}/${other.id}/v2.0`) },
    { name: 'the literal template issuer', doctoring: issuer(`${login}/{tenantid}/v2.0`) },
    { name: 'a v1 issuer', doctoring: issuer(`https://sts.windows.net/${tenant.id}/`) },
    { name: 'an issuer with a slash too many', doctoring: issuer(`${login}/${tenant.id}/v2.0/`) },
    { name: 'an upper-case issuer', doctoring: issuer(`${login}/${tenant.id.toUpperCase()}/v2.0`) },
    { name: 'no issuer', doctoring: lacks('iss') },
    { name: "another tenant's tid", doctoring: { claims: { tid: other.id } } },
    {
      name: "another tenant's issuer and tid",
      doctoring: { claims: { iss: `${login}/${other.id}/v2.0`, tid: other.id } },
    },
    {
      name: 'the template as tid and in the issuer',
      doctoring: { claims: { iss: `${login}/{tenantid}/v2.0`, tid: '{tenantid}' } },
    },
    { name: 'no tid', doctoring: lacks('tid') },

    { name: 'expired a day ago', doctoring: { claims: later('exp', -day - 3600) } },
    { name: 'no expiry', doctoring: lacks('exp') },
    { name: 'not valid before tomorrow', doctoring: { claims: later('nbf', day) } },

    { name: 'no oid', doctoring: lacks('oid') },
    { name: 'an oid that is no GUID', doctoring: { claims: { oid: 'administrator' } } },
    { name: 'no sub', doctoring: lacks('sub') },
    { name: 'version 1.0', doctoring: { claims: { ver: '1.0' } } },
  ];
}

const everyClaim = [
  'ver',
  'iss',
  'sub',
  'aud',
  'exp',
  'iat',
  'nbf',
  'auth_time',
  'name',
  'preferred_username',
  'oid',
  'tid',
  'email',
  'xms_edov',
  'nonce',
  'idp',
  'acct',
  'sid',
  'login_hint',
  'upn',
  'given_name',
  'family_name',
  'roles',
  'groups',
  'hasgroups',
  '_claim_names',
  '_claim_sources',
  'acrs',
  'aio',
  'rh',
  'uti',
];
