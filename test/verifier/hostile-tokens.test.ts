// Tokens that somebody made to be let in. Each is refused with the code a caller can act on, none makes the verifier
// ask anyone anything (an unknown kid excepted: only the issuer can tell that one, and only the issuer is asked).

import { constants, createHmac, createPrivateKey, createPublicKey, sign as cryptoSign } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createVerifier, VerificationError } from '../../src/verifier/index.ts';
import type { VerificationErrorCode, Verifier } from '../../src/verifier/index.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testKeys } from '../support/keys.ts';
import {
  audience, base64url, firstKey as genuine, secondKey as stranger, start, startTestIssuer, type TestIssuer,
} from './issuer.ts';

const privateKey = createPrivateKey({ key: Buffer.from(testKeys[0]!.pkcs8), format: 'der', type: 'pkcs8' });
const publicPem = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' });
const now = start / 1000;

let issuer: TestIssuer;
let verifier: Verifier;
const trap = { asked: 0, url: '' };
const trapServer = createServer((_request, response) => { trap.asked++; response.end('{"keys":[]}'); });

beforeAll(async () => {
  issuer = await startTestIssuer();
  verifier = createVerifier({ issuer: issuer.issuer, audience, cooldownSeconds: 0, now: () => issuer.clock.now });
  await verifier.ready();
  await new Promise<void>((resolve) => trapServer.listen(0, '127.0.0.1', resolve));
  trap.url = `http://127.0.0.1:${(trapServer.address() as AddressInfo).port}/jwks`;
});
afterAll(async () => {
  verifier.close();
  trapServer.close();
  await issuer.close();
});

type Row = [name: string, code: VerificationErrorCode, make: () => unknown];

const header = (changes: object) => () => issuer.token({ header: changes as Record<string, unknown> });
const claims = (changes: object) => () => issuer.token({ claims: changes as Record<string, unknown> });
const plainHeader = () => JSON.stringify({ alg: 'RS256', typ: 'at+jwt', kid: genuine.kid });
const parts = () => issuer.token().split('.') as [string, string, string];
/** A genuine token with one of its three parts changed. */
const part = (at: 0 | 1 | 2, change: (text: string) => string) => () =>
  parts().map((text, i) => (i === at ? change(text) : text)).join('.');
const whole = (change: (jwt: string) => unknown) => () => change(issuer.token());
/** Claims as JSON, with `extra` members put in as text, so that JSON.stringify cannot tidy them up. */
const claimsText = (extra: string) => JSON.stringify(issuer.claims()).replace(/}$/, `,${extra}}`);
const rawClaims = (text: () => string) => () => issuer.tokenOf(plainHeader(), text());
const rawHeader = (text: () => string) => () => issuer.tokenOf(text(), JSON.stringify(issuer.claims()));

function signedWith(changes: object, sign: (signed: Buffer) => Uint8Array): () => string {
  return () => {
    const head = JSON.stringify({ typ: 'at+jwt', kid: genuine.kid, ...changes });
    const text = `${base64url(head)}.${base64url(JSON.stringify(issuer.claims()))}`;
    return `${text}.${base64url(sign(Buffer.from(text)))}`;
  };
}

const hmac = (text: Buffer) => createHmac('sha256', publicPem).update(text).digest();
const rsa = (digest: string) => (text: Buffer) => cryptoSign(digest, text, privateKey);
const pss = (text: Buffer) =>
  cryptoSign('sha256', text, { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 });

/** The next letter of the alphabet decodes to the same bytes where its last bits are dropped. */
function spellLastCharacterDifferently(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const other = text.slice(0, -1) + alphabet[alphabet.indexOf(text.at(-1)!) + 1];
  if (Buffer.from(other, 'base64url').equals(Buffer.from(text, 'base64url'))) return other;
  throw new Error('this text has one spelling only');
}

/** Claims of such a length that their base64url has bits to spare. */
const claimsWithSpareBits = () => {
  for (const note of ['', 'x', 'xx']) {
    const jwt = issuer.token({ claims: { note } });
    if (jwt.split('.')[1]!.length % 4 !== 0) return jwt.split('.') as [string, string, string];
  }
  throw new Error('unreachable: one of three lengths has spare bits');
};

const algorithm: Row[] = [
  ['alg none, no signature', 'malformed', () => `${base64url('{"alg":"none","typ":"at+jwt"}')}.${parts()[1]}.`],
  ['alg none with the old signature', 'unsupported_algorithm', header({ alg: 'none' })],
  ['alg NoNe', 'unsupported_algorithm', header({ alg: 'NoNe' })],
  ['alg rs256', 'unsupported_algorithm', header({ alg: 'rs256' })],
  ['alg absent', 'unsupported_algorithm', header({ alg: undefined })],
  ['alg a list', 'unsupported_algorithm', header({ alg: ['RS256'] })],
  ['HS256 with the public key as secret', 'unsupported_algorithm', signedWith({ alg: 'HS256' }, hmac)],
  ['HS256 under the name RS256', 'bad_signature', signedWith({ alg: 'RS256' }, hmac)],
  ['RS384 by the right key', 'unsupported_algorithm', signedWith({ alg: 'RS384' }, rsa('sha384'))],
  ['RS384 under the name RS256', 'bad_signature', signedWith({ alg: 'RS256' }, rsa('sha384'))],
  ['RS1 under the name RS256', 'bad_signature', signedWith({ alg: 'RS256' }, rsa('sha1'))],
  ['PS256 by the right key', 'unsupported_algorithm', signedWith({ alg: 'PS256' }, pss)],
  ['PS256 under the name RS256', 'bad_signature', signedWith({ alg: 'RS256' }, pss)],
  ['ES256', 'unsupported_algorithm', signedWith({ alg: 'ES256' }, () => new Uint8Array(64))],
  ['EdDSA', 'unsupported_algorithm', signedWith({ alg: 'EdDSA' }, () => new Uint8Array(64))],
];

const keyChoice: Row[] = [
  ['kid absent', 'malformed', header({ kid: undefined })],
  ['kid empty', 'malformed', header({ kid: '' })],
  ['kid a list', 'malformed', header({ kid: [genuine.kid] })],
  ['kid a number', 'malformed', header({ kid: 1 })],
  ['kid null', 'malformed', header({ kid: null })],
  ['the right kid, a stranger\'s signature', 'bad_signature', () =>
    issuer.token({ key: stranger, header: { kid: genuine.kid } })],
  ['a stranger\'s key inside (jwk)', 'malformed', () =>
    issuer.token({ key: stranger, header: { kid: genuine.kid, jwk: stranger.publicJwk } })],
  ['our own key inside (jwk)', 'malformed', header({ jwk: genuine.publicJwk })],
  ['jku to a trap', 'malformed', () => issuer.token({ key: stranger, header: { jku: trap.url } })],
  ['x5u to a trap', 'malformed', () => issuer.token({ key: stranger, header: { x5u: trap.url } })],
  ['x5c', 'malformed', header({ x5c: ['MIIB'] })],
  ['jku null', 'malformed', header({ jku: null })],
];

const unknownKids: Row[] = [
  ['kid unknown', 'unknown_key', header({ kid: 'unknown' })],
  ['kid a path', 'unknown_key', header({ kid: '../../../../dev/null' })],
  ['kid an address', 'unknown_key', () => issuer.token({ header: { kid: trap.url } })],
  ['kid SQL', 'unknown_key', header({ kid: "' or 1=1 --" })],
  ['kid __proto__', 'unknown_key', header({ kid: '__proto__' })],
  ['kid with a zero byte', 'unknown_key', header({ kid: `${genuine.kid}\0` })],
  ['kid in the other case', 'unknown_key', header({ kid: genuine.kid.toUpperCase() })],
];

const parameters: Row[] = [
  ['crit', 'malformed', header({ crit: ['exp'], exp: 1 })],
  ['crit empty', 'malformed', header({ crit: [] })],
  ['b64 false', 'malformed', header({ b64: false, crit: ['b64'] })],
  ['b64 false without crit', 'malformed', header({ b64: false })],
  ['b64 true', 'malformed', header({ b64: true })],
  ['zip', 'malformed', header({ zip: 'DEF' })],
  ['enc', 'malformed', header({ enc: 'A256GCM' })],
  ['typ JWT', 'wrong_type', header({ typ: 'JWT' })],
  ['typ absent: an ID token', 'wrong_type', header({ typ: undefined })],
  ['typ rt+jwt: a refresh token', 'wrong_type', header({ typ: 'rt+jwt' })],
  ['typ logout+jwt', 'wrong_type', header({ typ: 'logout+jwt' })],
  ['typ with a suffix', 'wrong_type', header({ typ: 'at+jwt;x' })],
  ['typ with a line break', 'wrong_type', header({ typ: 'at+jwt\n' })],
  ['typ a list', 'wrong_type', header({ typ: ['at+jwt'] })],
];

const claimRows: Row[] = [
  ['iss wrong', 'wrong_issuer', claims({ iss: 'https://evil.example.com' })],
  ['iss with a slash more', 'wrong_issuer', () => issuer.token({ claims: { iss: `${issuer.issuer}/` } })],
  ['iss absent', 'wrong_issuer', claims({ iss: undefined })],
  ['iss a list', 'wrong_issuer', () => issuer.token({ claims: { iss: [issuer.issuer] } })],
  ['aud wrong', 'wrong_audience', claims({ aud: 'https://other.example.com' })],
  ['aud longer than ours', 'wrong_audience', claims({ aud: `${audience}.evil.example.com` })],
  ['aud in the other case', 'wrong_audience', claims({ aud: audience.toUpperCase() })],
  ['aud absent', 'invalid_claims', claims({ aud: undefined })],
  ['aud empty list', 'invalid_claims', claims({ aud: [] })],
  ['aud numbers', 'invalid_claims', claims({ aud: [1, 2] })],
  ['aud ours among numbers', 'invalid_claims', claims({ aud: [audience, 1] })],
  ['aud an object', 'invalid_claims', claims({ aud: { 0: audience } })],
  ['aud nested', 'invalid_claims', claims({ aud: [[audience]] })],
  ['exp absent', 'invalid_claims', claims({ exp: undefined })],
  ['exp text', 'invalid_claims', claims({ exp: String(now + 1800) })],
  ['exp null', 'invalid_claims', claims({ exp: null })],
  ['exp negative', 'invalid_claims', claims({ exp: -1 })],
  ['exp true', 'invalid_claims', claims({ exp: true })],
  ['exp a list', 'invalid_claims', claims({ exp: [now + 1800] })],
  ['exp in milliseconds', 'invalid_claims', claims({ exp: (now + 1800) * 1000 })],
  ['exp 1e308', 'malformed', rawClaims(() => JSON.stringify(issuer.claims()).replace(/"exp":\d+/, '"exp":1e308'))],
  ['exp 1e999', 'malformed', rawClaims(() => JSON.stringify(issuer.claims()).replace(/"exp":\d+/, '"exp":1e999'))],
  ['exp 2^53', 'malformed', claims({ exp: 2 ** 53 })],
  ['exp past', 'expired', claims({ iat: now - 3600, exp: now - 5 })],
  ['exp zero', 'expired', claims({ exp: 0 })],
  ['nbf ahead', 'not_yet_valid', claims({ nbf: now + 6 })],
  ['nbf text', 'invalid_claims', claims({ nbf: '0' })],
  ['iat ahead', 'not_yet_valid', claims({ iat: now + 6 })],
  ['iat absent', 'invalid_claims', claims({ iat: undefined })],
  ['iat text', 'invalid_claims', claims({ iat: String(now) })],
  ['sub absent', 'invalid_claims', claims({ sub: undefined })],
  ['sub empty', 'invalid_claims', claims({ sub: '' })],
  ['sub a number', 'invalid_claims', claims({ sub: 7 })],
  ['sub an object', 'invalid_claims', claims({ sub: { toString: 'admin' } })],
  ['client_id absent', 'invalid_claims', claims({ client_id: undefined })],
  ['client_id a list', 'invalid_claims', claims({ client_id: ['spa'] })],
  ['jti absent', 'invalid_claims', claims({ jti: undefined })],
  ['jti a number', 'invalid_claims', claims({ jti: 1 })],
  ['scope a list', 'invalid_claims', claims({ scope: ['orders:read'] })],
  ['roles text', 'invalid_claims', claims({ roles: 'admin' })],
  ['roles an object', 'invalid_claims', claims({ roles: { admin: true } })],
  ['roles with a list inside', 'invalid_claims', claims({ roles: [['admin']] })],
  ['email an object', 'invalid_claims', claims({ email: {} })],
  ['auth_time text', 'invalid_claims', claims({ auth_time: 'now' })],
  ['a number that a double rounds', 'malformed', rawClaims(() => claimsText('"account":9007199254740993'))],
];

const shapes: Row[] = [
  ['nothing', 'malformed', () => ''],
  ['undefined', 'malformed', () => undefined],
  ['an object', 'malformed', () => ({ toString: () => issuer.token() })],
  ['a Buffer', 'malformed', () => Buffer.from(issuer.token())],
  ['two segments', 'malformed', () => parts().slice(0, 2).join('.')],
  ['four segments', 'malformed', whole((jwt) => `${jwt}.${parts()[2]}`)],
  ['a JWE: five segments', 'malformed', () => `${parts()[0]}.AAAA.AAAA.AAAA.AAAA`],
  ['the JSON serialization', 'malformed', () => {
    const [head, payload, signature] = parts();
    return JSON.stringify({ protected: head, payload, signature });
  }],
  ['empty segments', 'malformed', () => '..'],
  ['an empty header', 'malformed', part(0, () => '')],
  ['empty claims', 'malformed', part(1, () => '')],
  ['a dot in front', 'malformed', whole((jwt) => `.${jwt}`)],
  ['a dot behind', 'malformed', whole((jwt) => `${jwt}.`)],
  ['a space in front', 'malformed', whole((jwt) => ` ${jwt}`)],
  ['a space behind', 'malformed', whole((jwt) => `${jwt} `)],
  ['a line break behind', 'malformed', whole((jwt) => `${jwt}\n`)],
  ['a space in the header', 'malformed', part(0, (text) => `${text.slice(0, 4)} ${text.slice(4)}`)],
  ['a tab in the claims', 'malformed', part(1, (text) => `${text.slice(0, 4)}\t${text.slice(4)}`)],
  ['a line break in the signature', 'malformed', part(2, (text) => `${text.slice(0, 76)}\r\n${text.slice(76)}`)],
  ['a space beside a dot', 'malformed', whole((jwt) => jwt.replace('.', ' .'))],
  ['a zero byte', 'malformed', whole((jwt) => `${jwt}\0`)],
  ['a BOM in front', 'malformed', whole((jwt) => `\ufeff${jwt}`)],
  ['a no-break space', 'malformed', whole((jwt) => `${jwt}\u00a0`)],
  ['a full-width dot', 'malformed', whole((jwt) => jwt.replace('.', '\uff0e'))],
  ['a letter that looks Latin', 'malformed', part(2, (text) => `\u0430${text.slice(1)}`)],
  ['Bearer in front', 'malformed', whole((jwt) => `Bearer ${jwt}`)],
  ['padding behind', 'malformed', whole((jwt) => `${jwt}==`)],
  ['padding in the header', 'malformed', part(0, (text) => `${text}=`)],
  ['plain base64 letters', 'malformed', part(2, (text) => `${text.slice(0, -2)}+/`)],
  ['an alphabet of both kinds', 'malformed', part(2, (text) => text.replaceAll('-', '+').replaceAll('_', '/'))],
  ['a percent sign', 'malformed', whole((jwt) => jwt.replace('.', '%2E'))],
  ['spare bits in the signature', 'malformed', part(2, spellLastCharacterDifferently)],
  ['spare bits in the claims', 'malformed', () => {
    const [head, payload, signature] = claimsWithSpareBits();
    return `${head}.${spellLastCharacterDifferently(payload)}.${signature}`;
  }],
  ['one character too many in the signature', 'malformed', part(2, (text) => `${text}AAA`)],
  ['larger than 8 kB', 'malformed', claims({ note: 'x'.repeat(8192) })],
  ['a megabyte', 'malformed', () => 'a'.repeat(1_000_000)],
];

const json: Row[] = [
  ['claims a list', 'malformed', rawClaims(() => JSON.stringify([issuer.claims()]))],
  ['claims null', 'malformed', rawClaims(() => 'null')],
  ['claims text', 'malformed', rawClaims(() => JSON.stringify(JSON.stringify(issuer.claims())))],
  ['claims not JSON', 'malformed', rawClaims(() => 'sub=admin')],
  ['claims twice', 'malformed', rawClaims(() => JSON.stringify(issuer.claims()).repeat(2))],
  ['claims with a BOM', 'malformed', rawClaims(() => `\ufeff${JSON.stringify(issuer.claims())}`)],
  ['claims with a trailing comma', 'malformed', rawClaims(() => JSON.stringify(issuer.claims()).replace(/}$/, ',}'))],
  ['claims with NaN', 'malformed', rawClaims(() => claimsText('"x":NaN'))],
  ['claims not UTF-8', 'malformed', () => {
    const latin1 = Buffer.from(JSON.stringify(issuer.claims({ sub: 'ÿ' })), 'latin1');
    const text = `${base64url(plainHeader())}.${base64url(latin1)}`;
    return `${text}.${base64url(genuine.sign(text))}`;
  }],
  ['claims nested beyond reason', 'malformed', rawClaims(() =>
    claimsText(`"x":${'['.repeat(2500)}${']'.repeat(2500)}`))],
  ['sub twice', 'malformed', rawClaims(() => claimsText('"sub":"admin"'))],
  ['sub twice, once escaped', 'malformed', rawClaims(() => claimsText('"\\u0073ub":"admin"'))],
  ['a name twice, far inside', 'malformed', rawClaims(() => claimsText('"x":[{"y":{"z":1,"z":2}}]'))],
  ['__proto__ twice', 'malformed', rawClaims(() => claimsText('"__proto__":1,"__proto__":2'))],
  ['alg twice', 'malformed', rawHeader(() => `{"alg":"none",${plainHeader().slice(1)}`)],
  ['kid twice', 'malformed', rawHeader(() => `{"kid":"x",${plainHeader().slice(1)}`)],
  ['everything below __proto__', 'unsupported_algorithm', rawHeader(() => `{"__proto__":${plainHeader()}}`)],
  ['header a list', 'malformed', rawHeader(() => `[${plainHeader()}]`)],
  ['header null', 'malformed', rawHeader(() => 'null')],
];

const bytes = (change: (signature: Buffer) => Uint8Array) =>
  part(2, (text) => base64url(change(Buffer.from(text, 'base64url'))));

const signatures: Row[] = [
  ['signature cut by one byte', 'bad_signature', bytes((signature) => signature.subarray(1))],
  ['signature cut at its end', 'bad_signature', bytes((signature) => signature.subarray(0, -1))],
  ['signature with a byte more', 'bad_signature', bytes((signature) => Buffer.concat([signature, Buffer.of(0)]))],
  ['signature with a zero in front', 'bad_signature', bytes((signature) => Buffer.concat([Buffer.of(0), signature]))],
  ['signature all zeros', 'bad_signature', bytes(() => Buffer.alloc(256))],
  ['signature one', 'bad_signature', bytes(() => Buffer.concat([Buffer.alloc(255), Buffer.of(1)]))],
  ['signature all ones', 'bad_signature', bytes(() => Buffer.alloc(256, 0xff))],
  ['signature plus the modulus', 'bad_signature', plusModulus],
  ['signature of one byte', 'bad_signature', part(2, () => 'AA')],
  ['one bit of the signature changed', 'bad_signature', bytes((signature) => {
    signature[100]! ^= 1;
    return signature;
  })],
  ['signature of another token', 'bad_signature', part(2, () =>
    issuer.token({ claims: { sub: 'clerk' } }).split('.')[2]!)],
  ['claims of another token', 'bad_signature', part(1, () =>
    issuer.token({ claims: { roles: ['admin'] } }).split('.')[1]!)],
  ['header of the same meaning', 'bad_signature', part(0, () => base64url(` ${plainHeader()}`))],
];

/** s + n is the same number modulo n; where it still fits into 256 bytes, a careless verifier accepts both. */
function plusModulus(): string {
  const modulus = BigInt(`0x${Buffer.from(genuine.publicJwk.n!, 'base64url').toString('hex')}`);
  for (let at = 0; ; at++) {
    const jwt = issuer.token({ claims: { jti: `token-${at}` } });
    const [head, payload, signature] = jwt.split('.') as [string, string, string];
    const sum = BigInt(`0x${Buffer.from(signature, 'base64url').toString('hex')}`) + modulus;
    if (sum >= 1n << 2048n) continue;
    return `${head}.${payload}.${base64url(Buffer.from(sum.toString(16).padStart(512, '0'), 'hex'))}`;
  }
}

const offline = [...algorithm, ...keyChoice, ...parameters, ...claimRows, ...shapes, ...json, ...signatures];

async function refusal(jwt: unknown): Promise<VerificationError> {
  const answer: unknown = await verifier.verify(jwt as string).then(() => 'accepted', (error: unknown) => error);
  expect(answer).toBeInstanceOf(VerificationError);
  return answer as VerificationError;
}

test('the tokens below are hostile, not merely broken: unchanged, theirs is accepted', async () => {
  await expect(verifier.verify(issuer.token())).resolves.toBeDefined();
  await expect(verifier.verify(issuer.tokenOf(plainHeader(), claimsText('"x":1')))).resolves.toBeDefined();
  await expect(verifier.verify(signedWith({ alg: 'RS256' }, rsa('sha256'))())).resolves.toBeDefined();
});

describe('refused without asking anyone:', () => {
  test.each(offline)('%s (%s)', async (_name, code, make) => {
    const before = issuer.requests.length;
    const error = await refusal(make());
    expect(error).toMatchObject({ code, status: 401 });
    expect(error.wwwAuthenticate).toMatch(/^Bearer error="invalid_token", error_description="[a-z0-9_' :-]+"$/i);
    expect(issuer.requests.length).toBe(before);
    expect(trap.asked).toBe(0);
  });
});

describe('refused after asking the issuer, and only the issuer:', () => {
  test.each(unknownKids)('%s (%s)', async (_name, code, make) => {
    const before = issuer.requests.length;
    expect(await refusal(make())).toMatchObject({ code, status: 401 });
    expect(issuer.requests.slice(before).map(({ path }) => path)).toEqual(['/jwks']);
    expect(trap.asked).toBe(0);
  });
});

test('no token and no part of one is repeated in what the caller may send or log', async () => {
  for (const [, , make] of [...offline, ...unknownKids]) {
    const jwt = make();
    const error = await refusal(jwt);
    const said = `${error.message} ${error.wwwAuthenticate}`;
    for (const text of String(jwt).split('.')) if (text.length > 20) expect(said).not.toContain(text);
    expect(said).not.toMatch(/person-1|evil|admin|unknown'|1=1/);
  }
});
