// Tokens that somebody made to be let in. Each is refused with the code a caller can act on, none makes the verifier
// ask anyone anything (an unknown kid excepted: only the issuer can tell that one, and only the issuer is asked).

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createVerifier, VerificationError, type Verifier } from '../../src/verifier/index.ts';
import { fitsHeader, type HostileTokens, hostileTokens } from '../support/hostile-tokens.ts';
import { forgeOf } from './forge.ts';
import { audience, startTestIssuer, type TestIssuer } from './issuer.ts';
import { type Service, services, startService } from './services.ts';
import { startTrap, type Trap } from './trap.ts';

// Rows are named before there is an issuer, so the table is made twice: for its names, and to be tried.
const nowhere = forgeOf({ issuer: 'https://id.example.com', claims: () => ({}) }, 'https://trap.example.com');
const names = hostileTokens(nowhere);
const rowsOf = (part: 'offline' | 'unknownKeys') => names[part].map(([name, code], row) => [name, code, row] as const);

let issuer: TestIssuer;
let verifier: Verifier;
let trap: Trap;
let table: HostileTokens;

beforeAll(async () => {
  issuer = await startTestIssuer();
  trap = await startTrap();
  table = hostileTokens(forgeOf(issuer, trap.url));
  verifier = createVerifier({ issuer: issuer.issuer, audience, cooldownSeconds: 0, now: () => issuer.clock.now });
  await verifier.ready();
});
afterAll(async () => {
  verifier.close();
  trap.close();
  await issuer.close();
});

async function refusal(jwt: unknown): Promise<VerificationError> {
  const answer: unknown = await verifier.verify(jwt as string).then(
    () => 'accepted',
    (error: unknown) => error,
  );
  expect(answer).toBeInstanceOf(VerificationError);
  return answer as VerificationError;
}

test('the tokens below are hostile, not merely broken: unchanged, theirs is accepted', async () => {
  for (const make of table.genuine) await expect(verifier.verify(make())).resolves.toBeDefined();
});

describe('refused without asking anyone:', () => {
  test.each(rowsOf('offline'))('%s (%s)', async (_name, code, row) => {
    const before = issuer.requests.length;
    const error = await refusal(table.offline[row]![2]());
    expect(error).toMatchObject({ code, status: 401 });
    expect(error.wwwAuthenticate).toMatch(/^Bearer error="invalid_token", error_description="[a-z0-9_' :-]+"$/i);
    expect(issuer.requests.length).toBe(before);
    expect(trap.asked).toBe(0);
  });
});

describe('refused after asking the issuer, and only the issuer:', () => {
  test.each(rowsOf('unknownKeys'))('%s (%s)', async (_name, code, row) => {
    const before = issuer.requests.length;
    expect(await refusal(table.unknownKeys[row]![2]())).toMatchObject({ code, status: 401 });
    expect(issuer.requests.slice(before).map(({ path }) => path)).toEqual(['/jwks']);
    expect(trap.asked).toBe(0);
  });
});

test('no token and no part of one is repeated in what the caller may send or log', async () => {
  for (const [, , make] of [...table.offline, ...table.unknownKeys]) {
    const jwt = make();
    const error = await refusal(jwt);
    const said = `${error.message} ${error.wwwAuthenticate}`;
    for (const text of String(jwt).split('.')) if (text.length > 20) expect(said).not.toContain(text);
    expect(said).not.toMatch(/person-1|evil|admin|unknown'|1=1/);
  }
});

describe.each(Object.keys(services))('a %s service, over HTTP', (framework) => {
  let service: Service;
  beforeAll(async () => {
    service = await startService(framework, verifier, { cookie: 'access-token' });
  });
  afterAll(() => service.close());

  test('answers 200 to a genuine token, in the header and in a cookie', async () => {
    for (const make of table.genuine) {
      expect(await service.get('/', { authorization: `Bearer ${make()}` })).toMatchObject({ status: 200 });
      expect(await service.get('/', inCookie(make()))).toMatchObject({ status: 200 });
    }
  });

  test('refuses every hostile one, with 4xx, and asks nobody but the issuer', async () => {
    const answers = new Map<string, number>();
    const before = issuer.requests.length;
    for (const [name, , make] of [...table.offline, ...table.unknownKeys]) {
      const jwt = make();
      if (!fitsHeader(jwt)) continue;
      answers.set(name, (await service.get('/', { authorization: `Bearer ${jwt}` })).status);
      answers.set(`${name}, in a cookie`, (await service.get('/', inCookie(jwt))).status);
    }
    expect(answers.size).toBeGreaterThan(2 * 170);
    expect([...answers].filter(([, status]) => status < 400 || status > 499)).toEqual([]);
    expect(issuer.requests.slice(before).filter(({ path }) => path !== '/jwks')).toEqual([]);
    expect(trap.asked).toBe(0);
  });
});

const inCookie = (jwt: string) => ({ cookie: `access-token=${jwt}`, 'x-signet-csrf': '1' });
