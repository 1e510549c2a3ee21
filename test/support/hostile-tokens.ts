// Tokens that somebody made to be let in, each a genuine access token of an issuer with one thing wrong. A table, so
// that whatever takes tokens can be tried with all of it: a verifier, a service over HTTP, an endpoint of the issuer.

import { constants, createHmac, createPublicKey, type KeyObject, privateEncrypt, sign } from 'node:crypto';
import type { VerificationErrorCode } from '../../src/verifier/index.ts';
import { forgedPaddings, properPadding } from './forged-paddings.ts';

/** The issuer that the tokens pretend to be of; whoever has this could also make good ones. */
export interface Forge {
  issuer: string;
  audience: string;
  /** Of the key below, as the issuer publishes it. */
  kid: string;
  privateKey: KeyObject;
  /** A key that the issuer never heard of. */
  strangersKey: KeyObject;
  /** Claims of a good token. */
  claims(): Record<string, unknown>;
  /** Where nobody should ever ask. */
  trapUrl: string;
}

/** `code` is what our verifier calls it. */
export type HostileToken = [name: string, code: VerificationErrorCode, make: () => unknown];

export interface HostileTokens {
  /** Refused by what is known already. */
  offline: HostileToken[];
  /** They name keys that nobody knows: only the issuer can tell. */
  unknownKeys: HostileToken[];
  /** What the others are made from: to be accepted. */
  genuine: (() => string)[];
}

type Signer = (text: Buffer) => Buffer;

const base64url = (text: string | Uint8Array) => Buffer.from(text).toString('base64url');

export function hostileTokens(forge: Forge): HostileTokens {
  const { issuer, audience, kid, privateKey, strangersKey, claims: goodClaims, trapUrl } = forge;
  const publicKey = createPublicKey(privateKey);
  const publicPem = publicKey.export({ type: 'spki', format: 'pem' });
  const publicJwk = publicKey.export({ format: 'jwk' });
  const now = () => Math.floor(Number(goodClaims().iat));

  type Changes = Record<string, unknown>;
  const rs256: Signer = (text) => sign('sha256', text, privateKey);
  const tokenOf = (head: string | Uint8Array, claims: string | Uint8Array, signer = rs256) => {
    const text = `${base64url(head)}.${base64url(claims)}`;
    return `${text}.${base64url(signer(Buffer.from(text)))}`;
  };
  const token = (headChanges: Changes = {}, claimChanges: Changes = {}, signer = rs256) =>
    tokenOf(
      JSON.stringify({ alg: 'RS256', typ: 'at+jwt', kid, ...headChanges }),
      JSON.stringify({ ...goodClaims(), ...claimChanges }),
      signer,
    );

  const header = (changes: Changes) => () => token(changes);
  const claims = (changes: Changes) => () => token({}, changes);
  const status = (reference: unknown) => claims({ status: { status_list: reference } });
  const signedWith = (changes: Changes, signer: Signer) => () => token(changes, {}, signer);
  const plainHeader = () => JSON.stringify({ alg: 'RS256', typ: 'at+jwt', kid });
  const plainClaims = () => JSON.stringify(goodClaims());
  const parts = () => token().split('.') as [string, string, string];
  /** A genuine token with one of its three parts changed. */
  const part = (at: 0 | 1 | 2, change: (text: string) => string) => () =>
    parts()
      .map((text, i) => (i === at ? change(text) : text))
      .join('.');
  const whole = (change: (jwt: string) => unknown) => () => change(token());
  /** Claims as JSON, with `extra` members put in as text, so that JSON.stringify cannot tidy them up. */
  const claimsText = (extra: string) => plainClaims().replace(/}$/, `,${extra}}`);
  const rawClaims = (text: () => string | Uint8Array) => () => tokenOf(plainHeader(), text());
  const rawHeader = (text: () => string) => () => tokenOf(text(), plainClaims());
  const bytes = (change: (signature: Buffer) => Uint8Array) =>
    part(2, (text) => base64url(change(Buffer.from(text, 'base64url'))));
  const raw = (block: (text: Buffer) => Uint8Array) =>
    signedWith({}, (text) => privateEncrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, block(text)));

  const strangersJwk = createPublicKey(strangersKey).export({ format: 'jwk' });
  const byStranger = (text: Buffer) => sign('sha256', text, strangersKey);
  const hmac = (secret: string | Uint8Array) => (text: Buffer) => createHmac('sha256', secret).update(text).digest();
  const rsa = (digest: string) => (text: Buffer) => sign(digest, text, privateKey);
  const pss = (text: Buffer) =>
    sign('sha256', text, { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 });

  const algorithm: HostileToken[] = [
    ['alg none, no signature', 'malformed', () => `${base64url('{"alg":"none","typ":"at+jwt"}')}.${parts()[1]}.`],
    ['alg none with the old signature', 'unsupported_algorithm', header({ alg: 'none' })],
    ['alg NoNe', 'unsupported_algorithm', header({ alg: 'NoNe' })],
    ['alg rs256', 'unsupported_algorithm', header({ alg: 'rs256' })],
    ['alg absent', 'unsupported_algorithm', header({ alg: undefined })],
    ['alg a list', 'unsupported_algorithm', header({ alg: ['RS256'] })],
    [
      'HS256 with the public key as secret',
      'unsupported_algorithm',
      signedWith({ alg: 'HS256' }, hmac(String(publicPem))),
    ],
    [
      'HS256 with the modulus as secret',
      'unsupported_algorithm',
      signedWith({ alg: 'HS256' }, hmac(Buffer.from(publicJwk.n!, 'base64url'))),
    ],
    ['HS256 with an empty secret', 'unsupported_algorithm', signedWith({ alg: 'HS256' }, hmac(''))],
    ['HS256 under the name RS256', 'bad_signature', signedWith({ alg: 'RS256' }, hmac(String(publicPem)))],
    ['RS384 by the right key', 'unsupported_algorithm', signedWith({ alg: 'RS384' }, rsa('sha384'))],
    ['RS384 under the name RS256', 'bad_signature', signedWith({ alg: 'RS256' }, rsa('sha384'))],
    ['RS1 under the name RS256', 'bad_signature', signedWith({ alg: 'RS256' }, rsa('sha1'))],
    ['PS256 by the right key', 'unsupported_algorithm', signedWith({ alg: 'PS256' }, pss)],
    ['PS256 under the name RS256', 'bad_signature', signedWith({ alg: 'RS256' }, pss)],
    ['ES256 of zeros', 'unsupported_algorithm', signedWith({ alg: 'ES256' }, () => Buffer.alloc(64))],
    ['EdDSA', 'unsupported_algorithm', signedWith({ alg: 'EdDSA' }, () => Buffer.alloc(64))],
    ['RSA-OAEP, an algorithm for encryption', 'unsupported_algorithm', header({ alg: 'RSA-OAEP' })],
  ];

  const keyChoice: HostileToken[] = [
    ['kid absent', 'malformed', header({ kid: undefined })],
    ['kid empty', 'malformed', header({ kid: '' })],
    ['kid a list', 'malformed', header({ kid: [kid] })],
    ['kid a number', 'malformed', header({ kid: 1 })],
    ['kid null', 'malformed', header({ kid: null })],
    ["the right kid, a stranger's signature", 'bad_signature', signedWith({}, byStranger)],
    ["a stranger's key inside (jwk)", 'malformed', signedWith({ jwk: strangersJwk }, byStranger)],
    ["a stranger's key behind jku", 'malformed', signedWith({ jku: trapUrl }, byStranger)],
    ['our own key inside (jwk)', 'malformed', header({ jwk: publicJwk })],
    ['jku to a trap', 'malformed', header({ jku: trapUrl })],
    ['x5u to a trap', 'malformed', header({ x5u: trapUrl })],
    ['x5c', 'malformed', header({ x5c: ['MIIB'] })],
    ['jku null', 'malformed', header({ jku: null })],
  ];

  const unknownKeys: HostileToken[] = [
    ['kid unknown', 'unknown_key', header({ kid: 'unknown' })],
    ['kid a path', 'unknown_key', header({ kid: '../../../../dev/null' })],
    ['kid an address', 'unknown_key', header({ kid: trapUrl })],
    ['kid SQL', 'unknown_key', header({ kid: "' or 1=1 --" })],
    ['kid a command', 'unknown_key', header({ kid: `$(curl ${trapUrl})` })],
    ['kid __proto__', 'unknown_key', header({ kid: '__proto__' })],
    ['kid with a zero byte', 'unknown_key', header({ kid: `${kid}\0` })],
    ['kid in the other case', 'unknown_key', header({ kid: swapCase(kid) })],
  ];

  const parameters: HostileToken[] = [
    ['crit', 'malformed', header({ crit: ['exp'], exp: 1 })],
    ['crit empty', 'malformed', header({ crit: [] })],
    ['b64 false', 'malformed', header({ b64: false, crit: ['b64'] })],
    ['b64 false without crit', 'malformed', header({ b64: false })],
    [
      'b64 false, the claims as they are',
      'malformed',
      () => {
        const head = base64url(JSON.stringify({ alg: 'RS256', typ: 'at+jwt', kid, b64: false, crit: ['b64'] }));
        return `${head}.${plainClaims()}.${base64url(rs256(Buffer.from(`${head}.${plainClaims()}`)))}`;
      },
    ],
    ['b64 true', 'malformed', header({ b64: true })],
    ['zip', 'malformed', header({ zip: 'DEF' })],
    ['enc', 'malformed', header({ enc: 'A256GCM' })],
  ];

  // Signed by the issuer's own key, and meant for something else.
  const aimed = (typ: string | undefined, changes: Changes) => () => token({ typ }, changes);
  const types: HostileToken[] = [
    ['typ JWT', 'wrong_type', header({ typ: 'JWT' })],
    ['typ with a suffix', 'wrong_type', header({ typ: 'at+jwt;x' })],
    ['typ with a line break', 'wrong_type', header({ typ: 'at+jwt\n' })],
    ['typ a list', 'wrong_type', header({ typ: ['at+jwt'] })],
    ['typ under cty', 'wrong_type', header({ typ: undefined, cty: 'at+jwt' })],
    ['an ID token', 'wrong_type', aimed(undefined, { aud: 'spa', nonce: 'n', client_id: undefined, jti: undefined })],
    ['an ID token for the API, with every claim', 'wrong_type', aimed('JWT', { nonce: 'n', at_hash: 'h' })],
    ['a refresh token', 'wrong_type', aimed('rt+jwt', { aud: issuer, sub: undefined, client_id: undefined })],
    [
      'a logout token',
      'wrong_type',
      aimed('logout+jwt', {
        aud: 'spa',
        events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
      }),
    ],
    [
      'a status list',
      'wrong_type',
      aimed('statuslist+jwt', {
        sub: `${issuer}/status-lists/1`,
        ttl: 15,
        status_list: { bits: 1, lst: 'eNpjYGBgAAAABAAB' },
      }),
    ],
    [
      'a signed introspection answer',
      'wrong_type',
      aimed('token-introspection+jwt', {
        aud: 'spa',
        token_introspection: { active: true, ...goodClaims() },
      }),
    ],
    ['a signed userinfo answer', 'wrong_type', aimed(undefined, { aud: 'spa', name: 'Ada' })],
    ['a request object', 'wrong_type', aimed('oauth-authz-req+jwt', { response_type: 'code' })],
    ['a client assertion', 'wrong_type', aimed('client-authentication+jwt', { iss: 'spa', sub: 'spa' })],
    ['a DPoP proof', 'wrong_type', aimed('dpop+jwt', { htm: 'GET', htu: issuer })],
  ];

  const claimRows: HostileToken[] = [
    ['iss wrong', 'wrong_issuer', claims({ iss: 'https://evil.example.com' })],
    ['iss with a slash more', 'wrong_issuer', claims({ iss: `${issuer}/` })],
    ['iss absent', 'wrong_issuer', claims({ iss: undefined })],
    ['iss a list', 'wrong_issuer', claims({ iss: [issuer] })],
    ['aud wrong', 'wrong_audience', claims({ aud: 'https://other.example.com' })],
    ['aud longer than ours', 'wrong_audience', claims({ aud: `${audience}.evil.example.com` })],
    ['aud in the other case', 'wrong_audience', claims({ aud: swapCase(audience) })],
    ['aud absent', 'invalid_claims', claims({ aud: undefined })],
    ['aud empty list', 'invalid_claims', claims({ aud: [] })],
    ['aud numbers', 'invalid_claims', claims({ aud: [1, 2] })],
    ['aud ours among numbers', 'invalid_claims', claims({ aud: [audience, 1] })],
    ['aud an object', 'invalid_claims', claims({ aud: { 0: audience } })],
    ['aud nested', 'invalid_claims', claims({ aud: [[audience]] })],
    ['exp absent', 'invalid_claims', claims({ exp: undefined })],
    ['exp text', 'invalid_claims', () => token({}, { exp: String(now() + 1800) })],
    ['exp null', 'invalid_claims', claims({ exp: null })],
    ['exp negative', 'invalid_claims', claims({ exp: -1 })],
    ['exp true', 'invalid_claims', claims({ exp: true })],
    ['exp a list', 'invalid_claims', () => token({}, { exp: [now() + 1800] })],
    ['exp in milliseconds', 'invalid_claims', () => token({}, { exp: (now() + 1800) * 1000 })],
    ['exp 1e308', 'malformed', rawClaims(() => plainClaims().replace(/"exp":\d+/, '"exp":1e308'))],
    ['exp 1e999', 'malformed', rawClaims(() => plainClaims().replace(/"exp":\d+/, '"exp":1e999'))],
    ['exp 2^53', 'malformed', claims({ exp: 2 ** 53 })],
    ['exp past', 'expired', () => token({}, { iat: now() - 7200, nbf: undefined, exp: now() - 3600 })],
    ['exp zero', 'expired', claims({ exp: 0 })],
    ['nbf ahead', 'not_yet_valid', () => token({}, { nbf: now() + 600 })],
    ['nbf text', 'invalid_claims', claims({ nbf: '0' })],
    ['iat after exp', 'invalid_claims', () => token({}, { iat: now() + 1801, exp: now() + 1800 })],
    ['iat absent', 'invalid_claims', claims({ iat: undefined })],
    ['iat text', 'invalid_claims', () => token({}, { iat: String(now()) })],
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
    ['status text', 'invalid_claims', claims({ status: 'valid' })],
    ['status a list', 'invalid_claims', claims({ status: [] })],
    ['status null', 'invalid_claims', claims({ status: null })],
    ['status_list null', 'invalid_claims', status(null)],
    ['status_list without idx', 'invalid_claims', status({ uri: trapUrl })],
    ['status_list with an idx below zero', 'invalid_claims', status({ idx: -1, uri: trapUrl })],
    ['status_list with half an idx', 'invalid_claims', status({ idx: 0.5, uri: trapUrl })],
    ['status_list with idx as text', 'invalid_claims', status({ idx: '1', uri: trapUrl })],
    ['status_list without uri', 'invalid_claims', status({ idx: 1 })],
    ['status_list with uris', 'invalid_claims', status({ idx: 1, uri: [trapUrl] })],
    ['a number that a double rounds', 'malformed', rawClaims(() => claimsText('"account":9007199254740993'))],
  ];

  const shapes: HostileToken[] = [
    ['nothing', 'malformed', () => ''],
    ['undefined', 'malformed', () => undefined],
    ['an object', 'malformed', () => ({ toString: () => token() })],
    ['a Buffer', 'malformed', () => Buffer.from(token())],
    ['two segments', 'malformed', () => parts().slice(0, 2).join('.')],
    ['four segments', 'malformed', whole((jwt) => `${jwt}.${parts()[2]}`)],
    ['a JWE: five segments', 'malformed', () => `${parts()[0]}.AAAA.AAAA.AAAA.AAAA`],
    [
      'the JSON serialization',
      'malformed',
      () => {
        const [head, payload, signature] = parts();
        return JSON.stringify({ protected: head, payload, signature });
      },
    ],
    [
      'the general JSON serialization',
      'malformed',
      () => {
        const [head, payload, signature] = parts();
        return JSON.stringify({ payload, signatures: [{ protected: head, signature }] });
      },
    ],
    ['empty segments', 'malformed', () => '..'],
    ['an empty header', 'malformed', part(0, () => '')],
    ['empty claims', 'malformed', part(1, () => '')],
    ['an empty signature', 'malformed', part(2, () => '')],
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
    ['in quotes', 'malformed', whole((jwt) => `"${jwt}"`)],
    ['two, with a comma', 'malformed', whole((jwt) => `${jwt},${jwt}`)],
    ['padding behind', 'malformed', whole((jwt) => `${jwt}==`)],
    ['padding in the header', 'malformed', part(0, (text) => `${text}=`)],
    ['plain base64 letters', 'malformed', part(2, (text) => `${text.slice(0, -2)}+/`)],
    ['an alphabet of both kinds', 'malformed', part(2, (text) => `+${text.slice(1)}`)],
    ['a percent sign', 'malformed', whole((jwt) => jwt.replace('.', '%2E'))],
    ['spare bits in the signature', 'malformed', part(2, spellLastCharacterDifferently)],
    [
      'spare bits in the claims',
      'malformed',
      () => {
        const [head, payload, signature] = withSpareBits(1);
        return `${head}.${spellLastCharacterDifferently(payload)}.${signature}`;
      },
    ],
    [
      'spare bits in the header',
      'malformed',
      () => {
        const [head, payload, signature] = withSpareBits(0);
        return `${spellLastCharacterDifferently(head)}.${payload}.${signature}`;
      },
    ],
    ['one character too many in the signature', 'malformed', part(2, (text) => `${text}AAA`)],
    ['larger than 8 kB', 'malformed', claims({ note: 'x'.repeat(8192) })],
    ['a megabyte', 'malformed', () => 'a'.repeat(1_000_000)],
  ];

  const json: HostileToken[] = [
    ['claims a list', 'malformed', rawClaims(() => `[${plainClaims()}]`)],
    ['claims null', 'malformed', rawClaims(() => 'null')],
    ['claims text', 'malformed', rawClaims(() => JSON.stringify(plainClaims()))],
    ['claims not JSON', 'malformed', rawClaims(() => 'sub=admin')],
    ['claims twice', 'malformed', rawClaims(() => plainClaims().repeat(2))],
    ['claims with a BOM', 'malformed', rawClaims(() => `\ufeff${plainClaims()}`)],
    ['claims with a trailing comma', 'malformed', rawClaims(() => plainClaims().replace(/}$/, ',}'))],
    ['claims with NaN', 'malformed', rawClaims(() => claimsText('"x":NaN'))],
    ['claims with a comment', 'malformed', rawClaims(() => `${plainClaims()}/* */`)],
    ['claims not UTF-8', 'malformed', rawClaims(() => Buffer.from(claimsText('"x":"ÿ"'), 'latin1'))],
    [
      'claims nested beyond reason',
      'malformed',
      rawClaims(() => claimsText(`"x":${'['.repeat(2500)}${']'.repeat(2500)}`)),
    ],
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

  const size = publicKey.asymmetricKeyDetails!.modulusLength! / 8;
  const signatures: HostileToken[] = [
    ['signature cut by one byte', 'bad_signature', bytes((signature) => signature.subarray(1))],
    ['signature cut at its end', 'bad_signature', bytes((signature) => signature.subarray(0, -1))],
    ['signature with a byte more', 'bad_signature', bytes((signature) => Buffer.concat([signature, Buffer.of(0)]))],
    ['signature with a zero in front', 'bad_signature', bytes((signature) => Buffer.concat([Buffer.of(0), signature]))],
    ['signature all zeros', 'bad_signature', bytes(() => Buffer.alloc(size))],
    ['signature one', 'bad_signature', bytes(() => Buffer.concat([Buffer.alloc(size - 1), Buffer.of(1)]))],
    ['signature all ones', 'bad_signature', bytes(() => Buffer.alloc(size, 0xff))],
    ['signature the modulus', 'bad_signature', bytes(() => Buffer.from(publicJwk.n!, 'base64url'))],
    ['signature plus the modulus', 'bad_signature', plusModulus],
    ['signature of one byte', 'bad_signature', part(2, () => 'AA')],
    ['signature reversed', 'bad_signature', bytes((signature) => signature.reverse())],
    [
      'one bit of the signature changed',
      'bad_signature',
      bytes((signature) => {
        signature[100]! ^= 1;
        return signature;
      }),
    ],
    ['signature of another token', 'bad_signature', part(2, () => token({}, { sub: 'clerk' }).split('.')[2]!)],
    ['claims of another token', 'bad_signature', part(1, () => token({}, { roles: ['admin', 'more'] }).split('.')[1]!)],
    ['header of the same meaning', 'bad_signature', part(0, () => base64url(` ${plainHeader()}`))],
    ...forgedPaddings(size).map(([name, block]): HostileToken => [`padding: ${name}`, 'bad_signature', raw(block)]),
  ];

  /** s + n is the same number modulo n; where it still fits into the bytes, a careless verifier accepts both. */
  function plusModulus(): string {
    const modulus = BigInt(`0x${Buffer.from(publicJwk.n!, 'base64url').toString('hex')}`);
    for (let at = 0; ; at++) {
      const [head, payload, signature] = token({}, { note: at }).split('.') as [string, string, string];
      const sum = BigInt(`0x${Buffer.from(signature, 'base64url').toString('hex')}`) + modulus;
      if (sum >= 1n << BigInt(size * 8)) continue;
      return `${head}.${payload}.${base64url(Buffer.from(sum.toString(16).padStart(size * 2, '0'), 'hex'))}`;
    }
  }

  /** A genuine token of which that part is of such a length that its base64url has bits to spare. */
  function withSpareBits(at: 0 | 1): [string, string, string] {
    for (const note of ['', 'x', 'xx']) {
      const made = (at === 0 ? token({ note }) : token({}, { note })).split('.') as [string, string, string];
      if (made[at].length % 4 !== 0) return made;
    }
    throw new Error('unreachable: one of three lengths has spare bits');
  }

  return {
    offline: [...algorithm, ...keyChoice, ...parameters, ...types, ...claimRows, ...shapes, ...json, ...signatures],
    unknownKeys,
    genuine: [
      () => token(),
      rawClaims(() => claimsText('"x":1')),
      () => withSpareBits(0).join('.'),
      () => withSpareBits(1).join('.'),
      raw(properPadding(size)),
    ],
  };
}

/** The next letter of the alphabet decodes to the same bytes where its last bits are dropped. */
function spellLastCharacterDifferently(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const other = text.slice(0, -1) + alphabet[alphabet.indexOf(text.at(-1)!) + 1];
  if (Buffer.from(other, 'base64url').equals(Buffer.from(text, 'base64url'))) return other;
  throw new Error('this text has one spelling only');
}

function swapCase(text: string): string {
  return text.toUpperCase() === text ? text.toLowerCase() : text.toUpperCase();
}

/**
 * Whether a token can be sent in a header as it is: HTTP refuses other characters, drops space at the ends, and node
 * ends the connection of whoever sends more than 16 kB of headers.
 */
export function fitsHeader(token: unknown): token is string {
  if (typeof token !== 'string' || token.length > 15_000) return false;
  return /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/.test(token);
}
