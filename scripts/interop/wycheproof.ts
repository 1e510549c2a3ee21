// Wycheproof's JWS vectors against the verifier: its JWS layer has to judge those of RS256 as they are labelled, and
// refuse all others. Their payloads are no claims, so the whole verifier has to refuse every one.

import { createPrivateKey, type JsonWebKey, randomUUID, sign } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { readHeader } from '../../src/verifier/claims.ts';
import { readJws } from '../../src/verifier/compact.ts';
import { createVerifier, VerificationError } from '../../src/verifier/index.ts';
import { checkSignature, createStaticKeys, type KeySource } from '../../src/verifier/keys.ts';
import { cache, run } from './contenders.ts';

export interface Vectors {
  /** Of the module. */
  version: string;
  /** Why there are none. */
  absent: string | undefined;
  counts: {
    /** Of RS256, by the JWS layer. */
    accepted: number;
    refused: number;
    /** All others, refused by it. */
    others: number;
    /** Refused by the whole verifier. */
    whole: number;
    /** Access tokens signed with the vectors' own keys, accepted by it. */
    tokens: number;
  };
  /** What was not judged as it has to be. */
  failures: string[];
}

interface Group {
  comment: string;
  public?: JsonWebKey;
  private: JsonWebKey;
  tests: Array<{ tcId: number; comment: string; jws: string; result: 'valid' | 'invalid' }>;
}

// Refused though labelled valid, for it is valid as a JWS.
export const refusedOnPurpose: Record<number, string> = {
  259: 'its payload is empty, and a JWT has claims',
};

// Labels that contradict the vector or its key. None is of RS256, so each is refused whatever its label says.
export const mislabelled: Record<string, string> = {
  '346, 350': 'labelled valid: signed with PS384, by a key whose `alg` is PS256',
  '347, 351': 'labelled valid: signed with ES512, by a key whose `alg` is ES521, which is no algorithm',
  '367, 370': 'labelled invalid for their padding: they have none, and are letter by letter vector 357, labelled valid',
  '372, 373': 'labelled valid: vector 357 with a "?" in its header or payload, which base64url does not have',
};

const [issuer, audience] = ['https://id.example.com', 'https://orders.example.com'];
const source = fileURLToPath(new URL('wycheproof', import.meta.url));

export async function wycheproof(): Promise<Vectors> {
  const vectors: Vectors = {
    version: '',
    absent: undefined,
    failures: [],
    counts: { accepted: 0, refused: 0, others: 0, whole: 0, tokens: 0 },
  };
  for (const group of fetchGroups(vectors)) await judge(group, vectors);
  return vectors;
}

function fetchGroups(vectors: Vectors): Group[] {
  try {
    run('go', ['build', '-o', `${cache}/wycheproof`, '.'], source);
    vectors.version = run('go', ['list', '-m', 'github.com/c2sp/wycheproof'], source).trim();
  } catch (error) {
    vectors.absent = (error as Error).message.split('\n')[0]!;
    return [];
  }
  return (JSON.parse(run(`${cache}/wycheproof`, [])) as { testGroups: Group[] }).testGroups;
}

async function judge(group: Group, { counts, failures }: Vectors): Promise<void> {
  const jwk = group.public ?? group.private;
  const isRs256 = jwk.alg === 'RS256';
  const keys = createStaticKeys({ keys: [jwk] });
  const verifier = createVerifier({ issuer, audience, jwks: { keys: [{ kty: 'none', ...jwk }] } });
  for (const { tcId, comment, jws, result } of group.tests) {
    const wanted = isRs256 && result === 'valid' && refusedOnPurpose[tcId] === undefined ? 'accepted' : '401';
    const byLayer = await outcome(() => acceptJws(jws, keys));
    const byAll = await outcome(() => verifier.verify(jws));
    const name = `${tcId} (${group.comment}, ${comment})`;
    if (byLayer === wanted) counts[!isRs256 ? 'others' : byLayer === 'accepted' ? 'accepted' : 'refused'] += 1;
    else failures.push(`${name}: ${byLayer} by the JWS layer`);
    if (byAll === '401') counts.whole += 1;
    else failures.push(`${name}: ${byAll} by the whole verifier`);
  }
  // The positive control: that it is not the keys which the whole verifier refuses.
  if (isRs256) {
    const token = await outcome(() => verifier.verify(accessToken(group.private)));
    if (token === 'accepted') counts.tokens += 1;
    else failures.push(`an access token signed with ${jwk.kid}: ${token}`);
  }
  verifier.close();
}

/** What the verifier does with a token, but for its claims. The vectors name no `typ`; the rest is as it came. */
async function acceptJws(jws: string, keys: KeySource): Promise<void> {
  const compact = readJws(jws, 8192);
  const kid = readHeader({ ...compact.header, typ: 'at+jwt' }, 'an access token');
  checkSignature(compact, await keys.find(kid));
}

/** "accepted", the status of a refusal, or an error that is none. */
function outcome(ask: () => Promise<unknown>): Promise<string> {
  return ask().then(
    () => 'accepted',
    (error: unknown) => (error instanceof VerificationError ? String(error.status) : `failed with ${String(error)}`),
  );
}

function accessToken(key: JsonWebKey): string {
  const iat = Math.floor(Date.now() / 1000);
  const header = { alg: 'RS256', typ: 'at+jwt', kid: key.kid };
  const claims = { iss: issuer, aud: audience, sub: 'ada', client_id: 'spa', jti: randomUUID(), iat, exp: iat + 60 };
  const text = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  return `${text}.${sign('sha256', Buffer.from(text), createPrivateKey({ key, format: 'jwk' })).toString('base64url')}`;
}
