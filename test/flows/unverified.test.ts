// What anybody may send: JWTs that nobody has verified, cookies, and forms, with every value of every type. The answers are
// the same on both databases, and none is an error of ours.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { engines } from '../support/engines.ts';
import { secret, startSignet, type TestServer } from '../support/signet.ts';
import { authorizationRequest, signIn, UserAgent } from '../support/user-agent.ts';

interface Side {
  name: string;
  server: TestServer;
  /** Tokens of a person, for their members to be bent. */
  tokens: Record<string, string>;
  cookies: string;
}

const entra = {
  tenant: '11111111-2222-3333-4444-555555555555',
  clientId: '6a2b4c1e-0d3f-4a5b-8c7d-9e0f1a2b3c4d',
  clientSecret: 'a-secret-of-this-application',
};

const sides: Side[] = [];
beforeAll(async () => {
  for (const { name, freshUrl } of engines) {
    const server = await startSignet({ database: await freshUrl(), values: { entra } });
    const { agent, tokens } = await signIn(server.issuer);
    const cookies = [...agent.cookies].map(([key, value]) => `${key}=${value}`).join('; ');
    sides.push({ name, server, tokens, cookies });
  }
});
afterAll(async () => {
  for (const { server } of sides) await server.close();
});

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const decoded = (jwt: string, part: 0 | 1) =>
  JSON.parse(Buffer.from(jwt.split('.')[part]!, 'base64url').toString()) as Record<string, unknown>;

/** Anything that JSON can hold, and what is known to trouble somebody. */
const anything = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    1,
    -1,
    0.5,
    1e308,
    '',
    'x',
    '\0',
    'a\0b',
    '\ud800',
    '__proto__',
    true,
    false,
    [],
    {},
    ['spa'],
    [null],
    [['spa']],
    { toString: 'x' },
    { length: 1 },
    'x'.repeat(5000),
    '%00',
    '../..',
    "' or 1=1 --",
  ),
  fc.jsonValue({ maxDepth: 2 }),
);
const bent = (name: string) => fc.tuple(fc.constant(name), anything);
const headerChange = fc.oneof(...['alg', 'typ', 'kid', 'crit', 'b64', 'jwk', 'zip', 'enc'].map(bent));
const claimChange = fc.oneof(
  ...['iss', 'aud', 'sub', 'jti', 'exp', 'iat', 'nbf', 'client_id', 'scope', 'status', 'sid'].map(bent),
);

/** A token of ours of which some members were changed; its signature stays, is cut off, or is another. */
const bentToken = fc.record({
  from: fc.constantFrom('access_token', 'id_token', 'refresh_token'),
  header: fc.array(headerChange, { maxLength: 2 }),
  claims: fc.array(claimChange, { maxLength: 3 }),
  // Under a key that we do not know, a refresh token is its handle: what is in it is used.
  unknownKey: fc.boolean(),
  signature: fc.constantFrom('kept', '', 'AAAA', '!'),
});

const shapes = fc.constantFrom(
  'e30.e30.',
  'e30.e30.e30',
  'bnVsbA.bnVsbA.AA',
  'W10.W10.AA',
  '..',
  '.',
  'a.b',
  'a.b.c.d.e',
  'eyJ9.eyJ9.AA',
  `${encode([])}.${encode(1)}.AA`,
  `${'e'.repeat(9000)}.e30.AA`,
  '\u{1f511}.\u{1f511}.\u{1f511}',
);

type Sent = (tokens: Record<string, string>) => string;
const token: fc.Arbitrary<Sent> = fc.oneof(
  {
    weight: 5,
    arbitrary: bentToken.map(({ from, header, claims, unknownKey, signature }) => (tokens: Record<string, string>) => {
      const jwt = tokens[from]!;
      const head = { ...decoded(jwt, 0), ...(unknownKey && { kid: 'x' }), ...Object.fromEntries(header) };
      const body = { ...decoded(jwt, 1), ...Object.fromEntries(claims) };
      return `${encode(head)}.${encode(body)}.${signature === 'kept' ? jwt.split('.')[2] : signature}`;
    }),
  },
  shapes.map((text) => () => text),
  fc.string({ unit: 'grapheme', maxLength: 60 }).map((text) => () => text),
);

interface Request {
  path: string;
  form?: Record<string, string> | [string, string][];
  headers?: Record<string, string>;
}

/** Status and error code: what the asker learns. Where a request begins something, its name is nobody's choice. */
async function outcomeOf({ server }: Side, { path, form, headers = {} }: Request): Promise<unknown[]> {
  const response = await fetch(server.issuer + path, {
    redirect: 'manual',
    method: form ? 'POST' : 'GET',
    headers: {
      Accept: 'application/json',
      ...(form && { 'Content-Type': 'application/x-www-form-urlencoded' }),
      ...headers,
    },
    body: form && new URLSearchParams(form).toString(),
  });
  const text = await response.text();
  const location = response.headers
    .get('location')
    ?.replace(server.issuer, '')
    .replace(/^(\/sign-in\/).*/, '$1');
  const to = location ? URL.parse(location, 'https://here.example') : undefined;
  const told = text.startsWith('{') ? (JSON.parse(text) as { error?: string; active?: boolean }) : {};
  return [response.status, told.error, told.active, to?.pathname, to?.searchParams.get('error')];
}

async function askAll(ask: (side: Side) => Request): Promise<void> {
  const [first, ...others] = await Promise.all(sides.map((side) => outcomeOf(side, ask(side))));
  expect(first![0]).toBeLessThan(500);
  for (const other of others) expect(other).toEqual(first);
}

const runs = { numRuns: 25 };
const service = { Authorization: `Basic ${btoa(`service:${secret}`)}` };
const web = { Authorization: `Basic ${btoa(`web:${secret}`)}` };
const query = (values: Record<string, string>) => new URLSearchParams(values).toString();

describe('a token that is none, or was bent', () => {
  test.each<[string, (jwt: string, side: Side) => Request]>([
    ['asked about', (jwt) => ({ path: '/token/introspection', form: { token: jwt }, headers: service })],
    ['given up', (jwt) => ({ path: '/token/revocation', form: { token: jwt, client_id: 'spa' } })],
    [
      'refreshed',
      (jwt) => ({ path: '/token', form: { grant_type: 'refresh_token', client_id: 'spa', refresh_token: jwt } }),
    ],
    [
      'redeemed as a code',
      (jwt) => ({
        path: '/token',
        headers: web,
        form: {
          grant_type: 'authorization_code',
          code: jwt,
          redirect_uri: 'https://app.example.com/callback',
          code_verifier: 'x'.repeat(43),
        },
      }),
    ],
    [
      'sent as proof of an application',
      (jwt) => ({
        path: '/token',
        form: {
          grant_type: 'client_credentials',
          client_assertion: jwt,
          client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        },
      }),
    ],
    ['shown to userinfo', (jwt) => ({ path: '/me', form: { access_token: jwt } })],
    [
      'a hint at sign-out',
      (jwt, { cookies }) => ({
        path: `/session/end?${query({ id_token_hint: jwt })}`,
        headers: { Cookie: cookies },
      }),
    ],
    [
      'a hint at sign-in',
      (jwt, { server, cookies }) => ({
        headers: { Cookie: cookies },
        path: authorizationRequest(server.issuer, { id_token_hint: jwt, prompt: 'none' }).url.replace(
          server.issuer,
          '',
        ),
      }),
    ],
    [
      'a request object',
      (jwt, { server, cookies }) => ({
        headers: { Cookie: cookies },
        path: authorizationRequest(server.issuer, { request: jwt }).url.replace(server.issuer, ''),
      }),
    ],
    [
      'a cookie of a session',
      (jwt, { server }) => ({
        path: authorizationRequest(server.issuer).url.replace(server.issuer, ''),
        headers: { Cookie: `signet_session=${encodeURIComponent(jwt)}; signet_session.sig=${encodeURIComponent(jwt)}` },
      }),
    ],
  ])('%s', async (_use, request) => {
    await fc.assert(
      fc.asyncProperty(token, (sent) => askAll((side) => request(sent(side.tokens), side))),
      runs,
    );
  });

  test('in the header, where it is a text of letters', async () => {
    const letters = fc.string({ unit: fc.constantFrom(...'abcXYZ019-._~+/= ,;"\\:'), maxLength: 80 });
    await fc.assert(
      fc.asyncProperty(letters, fc.constantFrom('Bearer ', 'Basic ', 'DPoP ', ''), (text, scheme) =>
        askAll(() => ({ path: '/me', headers: { Authorization: scheme + text } })),
      ),
      runs,
    );
    await fc.assert(
      fc.asyncProperty(letters, fc.constantFrom('/token', '/token/introspection', '/token/revocation'), (text, path) =>
        askAll(() => ({
          path,
          headers: { Authorization: `Basic ${btoa(text)}` },
          form: { grant_type: 'client_credentials', token: 'x' },
        })),
      ),
      runs,
    );
  });
});

describe('a refresh token under a key that we do not know, of which everything but the type may be right', () => {
  const members = ['iss', 'aud', 'jti', 'exp', 'iat'];
  const values: unknown[] = [
    1,
    -1,
    1e15,
    {},
    [],
    ['a'],
    null,
    true,
    '',
    '\0',
    '\ud800',
    'x'.repeat(9000),
    { toString: 'a' },
  ];

  test.each(members)('%s of every type', async (member) => {
    for (const value of values) {
      const bend = (jwt: string) =>
        `${encode({ ...decoded(jwt, 0), kid: 'x' })}.${encode({ ...decoded(jwt, 1), [member]: value })}.AAAA`;
      for (const [path, name, headers] of [
        ['/token/introspection', 'token', service],
        ['/token/revocation', 'token', service],
        ['/token', 'refresh_token', web],
      ] as const) {
        await askAll(({ tokens }) => ({
          path,
          headers,
          form: { grant_type: 'refresh_token', [name]: bend(tokens.refresh_token!) },
        }));
      }
    }
  });
});

describe('cookies, forms and addresses', () => {
  const word = fc.oneof(
    fc.constantFrom(
      '',
      '0',
      'null',
      '\0',
      'a\0b',
      '[object Object]',
      '__proto__',
      'constructor',
      '%',
      '%00',
      '\ud800',
      'x'.repeat(3000),
      '../',
      '//evil.example',
      "'",
      '"',
      '\r\nX: y',
      'é',
      '\u{1f511}',
    ),
    fc.string({ unit: 'grapheme', maxLength: 20 }),
  );
  const parameters = [
    'client_id',
    'redirect_uri',
    'response_type',
    'scope',
    'state',
    'nonce',
    'prompt',
    'max_age',
    'acr_values',
    'claims',
    'resource',
    'audience',
    'ui_locales',
    'login_hint',
    'domain_hint',
    'code_challenge',
    'code_challenge_method',
    'response_mode',
    'request_uri',
    'display',
    'registration',
  ];
  const changes = (names: string[]) =>
    fc.array(fc.tuple(fc.constantFrom(...names), word), { minLength: 1, maxLength: 4 });

  test('an authorization request, by GET and as a form', async () => {
    await fc.assert(
      fc.asyncProperty(changes(parameters), fc.boolean(), fc.boolean(), (changed, appended, signedIn) =>
        askAll((side) => {
          const url = new URL(authorizationRequest(side.server.issuer).url);
          for (const [name, value] of changed) {
            if (appended) url.searchParams.append(name, value);
            else url.searchParams.set(name, value);
          }
          return { path: url.pathname + url.search, headers: { Cookie: signedIn ? side.cookies : '' } };
        }),
      ),
      { numRuns: 40 },
    );
    await fc.assert(
      fc.asyncProperty(changes(parameters), (changed) =>
        askAll(() => ({ path: '/auth', form: [['client_id', 'spa'], ...changed] as [string, string][] })),
      ),
      runs,
    );
  });

  test('a sign-out and its confirmation', async () => {
    const names = ['id_token_hint', 'client_id', 'post_logout_redirect_uri', 'state', 'logout_hint', 'ui_locales'];
    await fc.assert(
      fc.asyncProperty(changes(names), fc.boolean(), (changed, signedIn) =>
        askAll((side) => ({
          path: `/session/end?${new URLSearchParams(changed)}`,
          headers: { Cookie: signedIn ? side.cookies : '' },
        })),
      ),
      runs,
    );
    await fc.assert(
      fc.asyncProperty(changes(names), (changed) => askAll(() => ({ path: '/session/end', form: changed }))),
      runs,
    );
    await fc.assert(
      fc.asyncProperty(changes(['xsrf', 'logout']), (changed) =>
        askAll(({ cookies }) => ({ path: '/session/end/confirm', form: changed, headers: { Cookie: cookies } })),
      ),
      runs,
    );
    await fc.assert(
      fc.asyncProperty(word, (name) => askAll(() => ({ path: `/session/end/success?${query({ client_id: name })}` }))),
      runs,
    );
  });

  test('a token request', async () => {
    const names = [
      'grant_type',
      'code',
      'redirect_uri',
      'code_verifier',
      'refresh_token',
      'scope',
      'resource',
      'audience',
      'client_id',
      'client_secret',
      'client_assertion',
      'client_assertion_type',
      'subject_token',
    ];
    const kinds = fc.constantFrom('authorization_code', 'refresh_token', 'client_credentials', 'password', '');
    await fc.assert(
      fc.asyncProperty(kinds, changes(names), fc.boolean(), (kind, changed, authenticated) =>
        askAll(() => ({
          path: '/token',
          form: [['grant_type', kind], ...changed] as [string, string][],
          headers: authenticated ? web : {},
        })),
      ),
      { numRuns: 40 },
    );
  });

  test('the cookies of a sign-in, a session and a device', async () => {
    const plain = fc.string({ unit: fc.constantFrom(...'abcXYZ019-._~+/=%"\\'), maxLength: 60 });
    const names = [
      'signet_session',
      'signet_session.sig',
      'signet_sign_in_x',
      'signet_device',
      'signet_after_sign_out',
    ];
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.constantFrom(...names), plain), { maxLength: 5 }), async (given) => {
        const headers = { Cookie: given.map(([name, value]) => `${name}=${value}`).join('; ') };
        for (const path of ['/auth/x', '/sign-in/x', '/session/end', '/auth?client_id=spa'])
          await askAll(() => ({ path, headers }));
      }),
      { numRuns: 15 },
    );
  });

  test('what comes back from Microsoft, or says so', async () => {
    const names = [
      'state',
      'code',
      'error',
      'error_description',
      'error_subcode',
      'claims',
      'admin_consent',
      'session_state',
      'sid',
      'iss',
    ];
    const cookie = fc.string({ unit: fc.constantFrom(...'abcXYZ019-._~'), maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(changes(names), cookie, async (changed, kept) => {
        const headers = { Cookie: `signet_entra_${kept}=${kept}; signet_after_sign_out=${kept}` };
        for (const path of ['callback', 'resume', 'signed-out', 'frontchannel-logout']) {
          await askAll(() => ({ path: `/sign-in/entra/${path}?${new URLSearchParams(changed)}`, headers }));
        }
        await askAll(() => ({ path: '/sign-in/entra/callback', form: changed, headers }));
      }),
      { numRuns: 20 },
    );
  });

  test('what is typed on the pages of a sign-in', async () => {
    const begun = await Promise.all(
      sides.map(async (side) => {
        const agent = new UserAgent(side.server.issuer);
        const { url } = await agent.visit(authorizationRequest(side.server.issuer).url);
        return {
          path: new URL(url).pathname,
          cookies: [...agent.cookies].map(([name, value]) => `${name}=${value}`).join('; '),
        };
      }),
    );
    const names = ['email', 'password', 'decision', 'new_password', 'new_password_again', '__proto__'];
    await fc.assert(
      fc.asyncProperty(changes(names), (changed) =>
        askAll((side) => {
          const { path, cookies } = begun[sides.indexOf(side)]!;
          return { path, form: changed, headers: { Cookie: cookies, 'Sec-Fetch-Site': 'same-origin' } };
        }),
      ),
      { numRuns: 15 },
    );
  });
});

test('and none of it was an error of ours', () => {
  for (const { server } of sides) expect(server.logged()).not.toContain('"level":"error"');
});
