// The tokens themselves, judged by somebody else: a verifier of node:crypto alone, and a golden token made by openssl.
// A misreading of jose or of ours cannot hide on both sides.

import type { JsonWebKey, KeyObject } from 'node:crypto';
import { createPrivateKey, createPublicKey, verify as rsaVerify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { JSONWebKeySet } from 'jose';
import { compactVerify, createLocalJWKSet, jwtVerify } from 'jose';
import { describe, expect, test } from 'vitest';
import { signJwt } from '../../entra-sim/id-token.ts';
import { attackerHost, hostileIdTokens } from '../../entra-sim/index.ts';
import { sim, startFresh, visitor } from './fresh.ts';
import { claimsOf, createRelyingParty } from './visitor.ts';

startFresh();

const get = async <T>(url: string) => (await (await visitor.request(url)).json()) as T;
type EntraJwk = JSONWebKeySet['keys'][number] & { issuer?: string };
const keysOf = (tenant: string) =>
  get<{ keys: EntraJwk[] }>(`https://login.microsoftonline.com/${tenant}/discovery/v2.0/keys`);
const idToken = async () => (await createRelyingParty(sim, visitor).signIn()).idToken;

interface Expected {
  clientId: string;
  tenantId: string;
  nowSeconds: number;
}

// The second verifier: RFC 7515 §5.2 and OIDC Core §3.1.3.7 by hand. Returns why it refuses, or undefined.
function refusal(jwt: string, keys: EntraJwk[], { clientId, tenantId, nowSeconds }: Expected): string | undefined {
  const parts = jwt.split('.');
  if (parts.length !== 3) return 'not three parts';
  const [header, claims] = parts.slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()));
  if (header.alg !== 'RS256') return 'algorithm';
  const jwk = keys.find(({ kid }) => kid === header.kid);
  if (jwk === undefined) return 'unknown key';
  const issuer = `https://login.microsoftonline.com/${tenantId}/v2.0`;
  if (jwk.issuer !== issuer) return 'key of another issuer';
  const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' });
  if (!signedBy(jwt, key)) return 'signature';
  if (claims.iss !== issuer || claims.tid !== tenantId) return 'issuer or tid';
  if (claims.aud !== clientId) return 'audience';
  if (!(claims.exp > nowSeconds && claims.nbf <= nowSeconds)) return 'time';
  if (claims.ver !== '2.0') return 'version';
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(claims.oid)) return 'oid';
  if (typeof claims.sub !== 'string') return 'subject';
  return undefined;
}

function signedBy(jwt: string, key: KeyObject): boolean {
  const at = jwt.lastIndexOf('.');
  return rsaVerify('RSA-SHA256', Buffer.from(jwt.slice(0, at)), key, Buffer.from(jwt.slice(at + 1), 'base64url'));
}

const expected = (): Expected => ({
  clientId: sim.app.clientId,
  tenantId: sim.app.home.id,
  nowSeconds: Math.floor(Date.now() / 1000),
});

describe('a token of the simulator', () => {
  test('is accepted by node:crypto and by jose', async () => {
    const jwt = await idToken();
    const jwks = await keysOf(sim.app.home.id);
    expect(refusal(jwt, jwks.keys, expected())).toBeUndefined();
    const { protectedHeader } = await jwtVerify(jwt, createLocalJWKSet(jwks), { algorithms: ['RS256'] });
    expect(protectedHeader).toEqual({ typ: 'JWT', alg: 'RS256', kid: sim.keys.active.kid });
  });

  test('is signed as openssl signs: the golden token comes out byte for byte', async () => {
    const golden = (name: string) => readFileSync(new URL(`golden/${name}`, import.meta.url), 'utf8').trim();
    const header = { typ: 'JWT', alg: 'RS256', kid: 'golden' };
    const signed = signJwt(header, JSON.parse(golden('claims.json')), createPrivateKey(golden('rsa.key')));
    expect(signed).toBe(golden('id_token.jwt'));
    const publicKey = createPublicKey(golden('rsa.pub'));
    expect(signedBy(golden('id_token.jwt'), publicKey)).toBe(true);
    await expect(compactVerify(golden('id_token.jwt'), publicKey)).resolves.toBeDefined();
  });

  test('is dated back five minutes and lives an hour', async () => {
    const { iat, nbf, exp } = claimsOf(await idToken());
    expect(iat).toBe(nbf);
    expect(exp - iat).toBe(3900);
  });

  test('follows the simulated clock', async () => {
    sim.clock.skew(86_400);
    expect(refusal(await idToken(), (await keysOf(sim.app.home.id)).keys, expected())).toBe('time');
    const answer = await visitor.request(`https://login.microsoftonline.com/common/discovery/v2.0/keys`);
    expect(Date.parse(answer.headers.get('date')!) - Date.now()).toBeGreaterThan(86_000_000);
  });
});

describe('a hostile ID token', () => {
  test('of every kind is refused by an independent verifier, and msal-node refuses those it is said to', async () => {
    // Published as at common, so that a missing issuer check shows and not merely a missing key.
    sim.keys.publishConsumerKeyAtTenants();
    const rows = hostileIdTokens(sim.tenant('contoso'), sim.tenant('fabrikam'));
    expect(rows.length).toBeGreaterThan(30);
    for (const { name, doctoring, refusedByMsal } of rows) {
      sim.nextIdToken(doctoring);
      const result = await createRelyingParty(sim, visitor)
        .signIn()
        .catch((error: Error) => error);
      if (refusedByMsal) {
        expect(result, name).toBeInstanceOf(Error);
        continue;
      }
      expect(result, `${name}: msal-node accepts it`).not.toBeInstanceOf(Error);
      const jwt = (result as { idToken: string }).idToken;
      expect(refusal(jwt, (await keysOf(sim.app.home.id)).keys, expected()), name).toBeDefined();
    }
  });

  test('concerns one sign-in, of the person named', async () => {
    sim.nextIdToken({ sign: 'none', when: { user: 'bob' } });
    expect(await idToken()).not.toMatch(/\.$/);
    sim.signInAs('bob');
    expect(await idToken()).toMatch(/\.$/);
    expect(await idToken()).not.toMatch(/\.$/);
  });
});

describe('the token response', () => {
  test('can carry other members, of other types, or lack them', async () => {
    const set = { expires_in: 'soon', extra: true };
    sim.nextTokenResponse({ set, drop: ['access_token'], clientInfoOf: sim.user('bob') });
    const result = await createRelyingParty(sim, visitor).signIn();
    expect(result.account?.homeAccountId).toContain(sim.user('bob').oid); // what msal-node makes of it
    expect(claimsOf(result.idToken).oid).toBe(sim.user('alice').oid);
    expect(result.accessToken).toBe('');
  });
});

describe('the keys', () => {
  const kids = async (tenant = sim.app.home.id) => (await keysOf(tenant)).keys.map(({ kid }) => kid);

  test('have no alg, kid as x5t with its certificate, and the issuer of the tenant that was asked for', async () => {
    const [key] = (await keysOf(sim.app.home.id)).keys;
    expect(key).not.toHaveProperty('alg');
    expect(key).toMatchObject({
      kty: 'RSA',
      use: 'sig',
      kid: key!.x5t,
      x5c: [expect.any(String)],
      issuer: `https://login.microsoftonline.com/${sim.app.home.id}/v2.0`,
    });
    const common = (await keysOf('common')).keys.map(({ issuer }) => issuer);
    expect(common).toEqual([
      'https://login.microsoftonline.com/{tenantid}/v2.0',
      'https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0',
    ]);
    expect(await kids('consumers')).toEqual([sim.keys.consumer.kid]);
  });

  test('rotate with overlap, and can be revoked at once', async () => {
    const before = sim.keys.active.kid;
    await sim.keys.rotate();
    expect(await kids()).toEqual([before, sim.keys.active.kid]);
    expect(refusal(await idToken(), (await keysOf(sim.app.home.id)).keys, expected())).toBeUndefined();
    sim.keys.revoke(before);
    expect(await kids()).toEqual([sim.keys.active.kid]);
  });

  test('can be many, doubled, of another kind, of another issuer, and cached otherwise', async () => {
    const { kid } = sim.keys.active;
    sim.keys.add(1000);
    expect(await kids()).toHaveLength(1001);
    sim.keys.reset();
    sim.keys.duplicateKid();
    expect(await kids()).toEqual([kid, kid]);
    sim.keys.addEc({ sameKid: true });
    expect((await keysOf(sim.app.home.id)).keys[0]).toMatchObject({ kty: 'EC', kid });
    sim.keys.reset();
    sim.keys.addEncryption({ sameKid: true });
    sim.keys.issuer('https://login.elsewhere.example/x/v2.0');
    const [bent] = (await keysOf(sim.app.home.id)).keys;
    expect(bent).toMatchObject({ use: 'enc', issuer: 'https://login.elsewhere.example/x/v2.0' });
    sim.keys.issuer(null);
    expect((await keysOf(sim.app.home.id)).keys[0]).not.toHaveProperty('issuer');
    sim.keys.cacheControl('max-age=31536000');
    const answer = await visitor.request(`https://login.microsoftonline.com/${sim.app.home.id}/discovery/v2.0/keys`);
    expect(answer.headers.get('cache-control')).toBe('max-age=31536000');
  });
});

describe('discovery', () => {
  const configuration = (tenant: string, host = 'login.microsoftonline.com') =>
    get<Record<string, string>>(`https://${host}/${tenant}/v2.0/.well-known/openid-configuration`);

  test('names a template at the aliases, the GUID for a domain, and the hosts of its cloud', async () => {
    expect(await configuration('common')).toMatchObject({
      issuer: 'https://login.microsoftonline.com/{tenantid}/v2.0',
      token_endpoint: 'https://login.microsoftonline.com/common/oauth2/v2.0/token',
    });
    expect((await configuration('consumers')).issuer).toContain('9188040d');
    expect((await configuration('contoso.example')).issuer).toContain(sim.tenant('contoso').id);
    expect(await configuration(sim.tenant('fairfax').id, 'login.microsoftonline.us')).toMatchObject({
      issuer: `https://login.microsoftonline.us/${sim.tenant('fairfax').id}/v2.0`,
      msgraph_host: 'graph.microsoft.us',
    });
    expect(await configuration(sim.tenant('shanghai').id, 'login.partner.microsoftonline.cn')).toMatchObject({
      msgraph_host: 'microsoftgraph.chinacloudapi.cn',
    });
  });

  test('knows no tenant of another cloud', async () => {
    expect(await configuration(sim.tenant('fairfax').id)).toMatchObject({ error_codes: [90002] });
  });

  test('can name alien endpoints and lack members until that is withdrawn', async () => {
    const withdraw = sim.discovery({ set: { issuer: `https://${attackerHost}/` }, drop: ['jwks_uri'] });
    const bent = await configuration(sim.app.home.id);
    expect(bent.issuer).toBe(`https://${attackerHost}/`);
    expect(bent).not.toHaveProperty('jwks_uri');
    withdraw();
    expect(await configuration(sim.app.home.id)).toHaveProperty('jwks_uri');
  });

  test('of instances lists the clouds', async () => {
    const url =
      'https://login.microsoftonline.com/common/discovery/instance?api-version=1.1' +
      `&authorization_endpoint=https://login.microsoftonline.com/${sim.app.home.id}/oauth2/v2.0/authorize`;
    const { metadata } = await get<{ metadata: { preferred_network: string }[] }>(url);
    expect(metadata.map((each) => each.preferred_network)).toContain('login.microsoftonline.us');
  });
});
