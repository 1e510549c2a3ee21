// What it costs to verify an access token: ours, beside raw jose and the verifiers that people use in its place. All
// run in this one run, in turns, so that what the machine does otherwise falls on all: read the ratios. Ours looks up
// the token's status in a list besides; the others do not know of revocation.
//
//   npm run bench:verifier

import { createPublicKey, type JsonWebKey } from 'node:crypto';
import { JwtVerifier } from 'aws-jwt-verify';
import { createVerifier as createFastVerifier } from 'fast-jwt';
import { jwtVerify } from 'jose';
import jsonwebtoken from 'jsonwebtoken';
import { createVerifier } from '../src/verifier/index.ts';
import { audience, firstKey, startTestIssuer } from '../test/verifier/issuer.ts';
import { serveList, statusOf } from '../test/verifier/status-lists.ts';

const rounds = 9;
const distinctTokens = 2_400; // more than ours remembers, so that each is a new one when it comes round again
const usersOfRepeated = 100;
const repetitions = 24_000;

const server = await startTestIssuer();
server.clock.now = Date.now();
const { issuer } = server;
serveList(server, { size: 1 << 20, claims: { iss: issuer } });

const tokens = Array.from({ length: distinctTokens }, (_, at) =>
  server.token({ claims: { jti: `b2xkIGZhc2hpb25lZCBncmFudA.${at}`, ...statusOf(server, at) } }),
);

const key = createPublicKey({ key: firstKey.publicJwk as JsonWebKey, format: 'jwk' });
const pem = String(key.export({ type: 'spki', format: 'pem' }));
const checks = { issuer, audience };

const ours = createVerifier(checks);
const forgetful = createVerifier({ ...checks, maxRememberedTokens: 0 });
const plain = createVerifier({ ...checks, revocation: 'none' });
const aws = JwtVerifier.create({ ...checks, jwksUri: server.jwksUri });
aws.cacheJwks({ keys: [firstKey.publicJwk] } as Parameters<typeof aws.cacheJwks>[0]);
const fastOptions = { key: pem, algorithms: ['RS256' as const], allowedIss: issuer, allowedAud: audience };
const fast = createFastVerifier(fastOptions);
const fastRemembering = createFastVerifier({ ...fastOptions, cache: 1000 });

const contenders: Record<string, (jwt: string) => unknown> = {
  '@signet-idp/verifier': (jwt) => ours.verify(jwt),
  '  without revocation': (jwt) => plain.verify(jwt),
  '  remembering none': (jwt) => forgetful.verify(jwt),
  'jose jwtVerify': (jwt) => jwtVerify(jwt, key, { ...checks, algorithms: ['RS256'], typ: 'at+jwt' }),
  'fast-jwt': (jwt) => fast(jwt),
  '  with its cache': (jwt) => fastRemembering(jwt),
  'aws-jwt-verify': (jwt) => aws.verify(jwt),
  jsonwebtoken: (jwt) => jsonwebtoken.verify(jwt, pem, { ...checks, algorithms: ['RS256'] }),
};

interface Cost {
  /** Microseconds for one token. */
  wall: number;
  cpu: number;
}

async function measure(verify: (jwt: string) => unknown, jwts: readonly string[], count: number): Promise<Cost> {
  const cpuBefore = process.cpuUsage();
  const started = performance.now();
  for (let at = 0; at < count; at++) {
    const result = verify(jwts[at % jwts.length]!);
    if (result instanceof Promise) await result;
  }
  const wall = ((performance.now() - started) * 1000) / count;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { wall, cpu: (user + system) / count };
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

async function compare(title: string, jwts: readonly string[], countOf: (name: string) => number): Promise<void> {
  const costs = new Map<string, Cost[]>(Object.keys(contenders).map((name) => [name, []]));
  for (let round = 0; round <= rounds; round++) {
    for (const [name, verify] of Object.entries(contenders)) {
      const cost = await measure(verify, jwts, countOf(name));
      if (round > 0) costs.get(name)!.push(cost); // the first is for warming up
    }
  }
  const jose = costs.get('jose jwtVerify')!;
  console.log(`\n${title}\n${''.padEnd(24)}wall µs   CPU µs   times as fast as jose (wall, CPU)`);
  for (const [name, own] of costs) {
    const figure = (part: keyof Cost) =>
      median(own.map((cost) => cost[part]))
        .toFixed(1)
        .padStart(7);
    const ratio = (part: keyof Cost) =>
      median(own.map((cost, at) => jose[at]![part] / cost[part]))
        .toFixed(2)
        .padStart(7);
    console.log(`${name.padEnd(24)}${figure('wall')}  ${figure('cpu')}  ${ratio('wall')}  ${ratio('cpu')}`);
  }
}

const sizes = `RSA-2048; tokens of ${tokens[0]!.length} bytes`;
console.log(`node ${process.version}; ${sizes}; ${rounds} rounds in turns, medians`);
await compare(`Distinct tokens (${distinctTokens})`, tokens, () => distinctTokens);
// Those that compute a signature each time need fewer to be measured.
const remembering = new Set(['@signet-idp/verifier', '  without revocation', '  with its cache']);
await compare(
  `The same tokens again and again (${usersOfRepeated} people)`,
  tokens.slice(0, usersOfRepeated),
  (name) => (remembering.has(name) ? repetitions : distinctTokens),
);

for (const verifier of [ours, forgetful, plain]) verifier.close();
await server.close();
