#!/usr/bin/env bash
# A verifier's cache of keys that asks the issuer every time, and goes on reporting what went wrong the first time.
#
# Package: get-jwks 11.0.3 (npm), with lru-cache 11.5.3.
#
# Beside its cache it has a second one with what dropped out of the first, to fall back on when a request fails. A
# request that fails is dropped from the first as well, and so its error becomes something to fall back on. The next
# failure for the same `kid`, whatever it is, is answered with that first error, its code and its HTTP response
# included; and answering so stores it anew, with its whole lifetime before it. While a token with this `kid` comes in
# at least once in each `ttl` (a minute unless it is set), the first error never ages.
#
# In a rotation it looks so: the issuer answers 503 for a moment, as a new key comes into use. From then on it is well
# and answers 200 with a set that lacks the key (a replica that is behind, say, or a token of another environment). A
# process that saw the 503 reports JWKS_REQUEST_FAILED with status 503 for each such token and without an end, while
# one started later reports JWK_NOT_FOUND. Whoever reads that log looks at a server which answers every request with
# 200. Each report did cost one request, so it is no cached answer that one would think of.
#
# Seen, with a `ttl` of 3 seconds and a token a second:
#   down, asked: JWKS_REQUEST_FAILED 503
#   up 1 s, asked: JWKS_REQUEST_FAILED 503
#   up 8 s, asked: JWKS_REQUEST_FAILED 503 (8 answers of 200 since)
#   up 8 s, another client: JWK_NOT_FOUND
#   nobody asked for longer than the ttl: JWK_NOT_FOUND
#   and the key is there: found
#
# For an issuer: a verifier's word on a 503 is to be compared with one's own log before anything is restarted. For a
# verifier: the error's `response` may be of a request made hours ago.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

npm install --silent --no-audit --no-fund --no-save --ignore-scripts --prefix "$dir" \
  get-jwks@11.0.3 lru-cache@11.5.3 >&2

cat >run.mjs <<'NODE'
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import buildGetJwks from 'get-jwks';

const ttl = 3000;
const keyOf = (kid) => ({
  ...generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' }),
  kid,
  alg: 'RS256',
  use: 'sig',
});
const [before, after] = [keyOf('before'), keyOf('after')];

let answer = { status: 503, body: { error: 'temporarily_unavailable' } };
let well = 0;
const server = createServer((_request, response) => {
  if (answer.status === 200) well += 1;
  response.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body));
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const domain = `http://127.0.0.1:${server.address().port}`;

const ask = async (client) => {
  try {
    const { kid } = await client.getJwk({ domain, alg: 'RS256', kid: 'after' });
    return kid === 'after' ? 'found' : `found another: ${kid}`;
  } catch (error) {
    return [error.code ?? error.message, error.response?.status].filter(Boolean).join(' ');
  }
};

const client = buildGetJwks({ ttl });
console.log(`down, asked: ${await ask(client)}`);
answer = { status: 200, body: { keys: [before] } };
for (let second = 1; second <= 8; second++) {
  await sleep(1000);
  const said = await ask(client);
  if (second === 1) console.log(`up 1 s, asked: ${said}`);
  if (second === 8) console.log(`up 8 s, asked: ${said} (${well} answers of 200 since)`);
}
console.log(`up 8 s, another client: ${await ask(buildGetJwks({ ttl }))}`);
await sleep(ttl + 1000);
console.log(`nobody asked for longer than the ttl: ${await ask(client)}`);
answer = { status: 200, body: { keys: [before, after] } };
console.log(`and the key is there: ${await ask(client)}`);
server.close();
server.closeAllConnections();
NODE

node run.mjs | tee seen

cat >expected <<'TEXT'
down, asked: JWKS_REQUEST_FAILED 503
up 1 s, asked: JWKS_REQUEST_FAILED 503
up 8 s, asked: JWKS_REQUEST_FAILED 503 (8 answers of 200 since)
up 8 s, another client: JWK_NOT_FOUND
nobody asked for longer than the ttl: JWK_NOT_FOUND
and the key is there: found
TEXT

if ! cmp -s expected seen; then
  echo 'The first error is no longer what later failures are reported as.' >&2
  exit 1
fi
echo 'As described: the first error is reported for as long as somebody asks.'
