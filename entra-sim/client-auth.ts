// Client authentication at the token endpoint: secret (body or Basic), certificate assertion, federated credential.
// Assertions are verified for real, with jose, because that is where a product goes wrong quietly.

import type { KeyObject, X509Certificate } from 'node:crypto';
import { timingSafeEqual } from 'node:crypto';
import type { JWTPayload } from 'jose';
import { compactVerify, decodeJwt, decodeProtectedHeader } from 'jose';

import { Aadsts } from './aadsts.ts';
import type { App } from './applications.ts';
import { thumbprint } from './certificates.ts';
import type { Exchange } from './exchange.ts';
import { percentDecoded } from './exchange.ts';
import type { Simulation } from './simulation.ts';

const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
/** How far an assertion's nbf and exp may be off. */
const toleranceSeconds = 300;

export async function authenticateClient(sim: Simulation, exchange: Exchange): Promise<App> {
  const basic = basicCredentials(exchange.headers.authorization);
  const clientId = exchange.form.get('client_id') ?? basic?.id;
  const app = sim.apps.find((each) => each.clientId === clientId);
  if (app === undefined) throw new Aadsts(700016);

  const secret = exchange.form.get('client_secret') ?? basic?.secret;
  if (secret !== undefined) checkSecret(sim, app, secret);
  else if (exchange.form.get('client_assertion_type') === assertionType) {
    await checkAssertion(sim, app, exchange, exchange.form.get('client_assertion') ?? '');
  } else throw new Aadsts(7000218);
  return app;
}

function basicCredentials(header: string | undefined): { id: string; secret: string } | undefined {
  const encoded = /^Basic (\S+)$/i.exec(header ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const [id = '', secret = ''] = Buffer.from(encoded, 'base64').toString().split(':', 2).map(percentDecoded);
  return { id, secret };
}

function checkSecret(sim: Simulation, app: App, secret: string): void {
  const match = app.secrets.find(({ value }) => equal(value, secret));
  if (match === undefined) throw new Aadsts(7000215);
  if (match.expiresAtMs <= sim.clock.now()) throw new Aadsts(7000222);
}

function equal(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

async function checkAssertion(sim: Simulation, app: App, exchange: Exchange, assertion: string): Promise<void> {
  const { header, claims } = parse(assertion);
  if (claims.iss !== app.clientId) return checkFederated(sim, app, assertion, claims);

  const x5tS256 = header['x5t#S256'];
  const byDigest = typeof x5tS256 === 'string' ? app.certificates.get(x5tS256) : byOldThumbprint(app, header.x5t);
  if (byDigest === undefined) {
    throw badAssertion(`The key was not found., Thumbprint of key used by client: '${String(x5tS256 ?? header.x5t)}'`);
  }
  if (Date.parse(byDigest.validTo) <= sim.clock.now()) {
    throw badAssertion('The key used is expired.');
  }
  await verifySignature(assertion, byDigest.publicKey, ['PS256', 'RS256']);
  // A used jti is not remembered: Entra tolerates that MSAL sends one assertion for ten minutes.
  if (claims.sub !== app.clientId) throw badAssertion('The subject is not the client.');
  checkAudience(exchange, claims.aud);
  checkTimes(sim, claims);
}

function checkAudience({ origin, authority, path }: Exchange, aud: unknown): void {
  const audiences = [`${origin}${path}`, `${origin}/${authority}/v2.0`, `${origin}/${authority}/oauth2/token`];
  if (typeof aud === 'string' && audiences.some((each) => each.toLowerCase() === aud.toLowerCase())) return;
  const text = 'Client assertion audience claim does not match Realm issuer.';
  throw new Aadsts(700023, { error: 'invalid_client', status: 401, text });
}

function checkTimes(sim: Simulation, { nbf, exp }: { nbf?: number; exp?: number }): void {
  const now = sim.clock.seconds();
  const early = nbf !== undefined && nbf > now + toleranceSeconds;
  const late = exp === undefined || exp < now - toleranceSeconds;
  if (early || late) throw new Aadsts(700024);
}

async function checkFederated(sim: Simulation, app: App, assertion: string, claims: JWTPayload): Promise<void> {
  const credential = app.federatedCredentials.find(
    ({ issuer, subject, audience = 'api://AzureADTokenExchange' }) =>
      claims.iss === issuer && claims.sub === subject && [claims.aud].flat().includes(audience),
  );
  if (credential === undefined) throw new Aadsts(70021);
  await verifySignature(assertion, credential.publicKey, ['RS256']);
  checkTimes(sim, claims);
}

async function verifySignature(assertion: string, key: KeyObject, algorithms: string[]): Promise<void> {
  await compactVerify(assertion, key, { algorithms }).catch(() => {
    throw badAssertion('The signature is invalid.');
  });
}

function badAssertion(reason: string): Aadsts {
  return new Aadsts(700027, { text: `Client assertion failed signature validation. [Reason - ${reason}]` });
}

function byOldThumbprint(app: App, x5t: unknown): X509Certificate | undefined {
  return [...app.certificates.values()].find((certificate) => thumbprint(certificate.toString(), 'sha1') === x5t);
}

function parse(assertion: string) {
  try {
    return { header: decodeProtectedHeader(assertion), claims: decodeJwt(assertion) };
  } catch {
    throw new Aadsts(50027, { error: 'invalid_request', text: 'JWT token is invalid or malformed.' });
  }
}
