import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type EntraSim, startEntraSim } from '../../entra-sim/index.ts';
import { createVisitor } from '../entra-sim/visitor.ts';
import { UserAgent } from '../support/user-agent.ts';
import { type Callback, issuer, type Rig, redirectUri, startRig } from './rig.ts';

let sim: EntraSim;
let rig: Rig;
let posting: Rig;
beforeAll(async () => {
  sim = await startEntraSim();
  rig = await startRig(sim);
  posting = await startRig(sim, { config: { responseMode: 'form_post' } });
});
afterAll(async () => {
  await rig.close();
  await posting.close();
  await sim.close();
});
beforeEach(() => {
  sim.reset();
  sim.signInAs('alice');
  for (const each of [rig, posting]) each.completed.length = each.failures.length = 0;
});

const tokenPosts = () => sim.requests('token').length;
const expectLost = (of = rig) => {
  expect(of.completed).toEqual([]);
  expect(of.failures.at(-1)).toMatchObject({ failure: 'lost', status: 400 });
};
const changed = (callback: Callback, parameters: Record<string, string | null>): Callback => {
  const url = new URL(callback.url);
  for (const [name, value] of Object.entries(parameters)) {
    if (value === null) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  return { url: url.href };
};

describe('a sign-in through Microsoft', () => {
  test('E6 ends with the person and the sign-in that it was begun for', async () => {
    const answer = await rig.signIn({ uid: 'a-certain-sign-in' });
    expect(answer.body).toBe('signed in a-certain-sign-in');
    const alice = { oid: sim.user('alice').oid, tid: sim.tenant('contoso').id };
    expect(rig.completed).toMatchObject([{ uid: 'a-certain-sign-in', identity: alice }]);
  });

  test('E6 asks with PKCE, state and nonce of 256 bits, new each time; the verifier stays out of the URL', async () => {
    const [first, second] = [new URL(await rig.begin(rig.agent())), new URL(await rig.begin(rig.agent()))];
    for (const name of ['state', 'nonce', 'code_challenge']) {
      expect(Buffer.from(first.searchParams.get(name)!, 'base64url')).toHaveLength(32);
      expect(first.searchParams.get(name)).not.toBe(second.searchParams.get(name));
    }
    expect(first.searchParams.get('code_challenge_method')).toBe('S256');
    await rig.signIn();
    const [token] = sim.requests('token');
    sim.log.assertOnlySeenAt('token', token!.form.get('code_verifier')!);
    sim.log.assertOnlySeenAt('token', sim.app.secret);
  });

  test('E6 ends once: the callback repeated, or reloaded, is refused, and Microsoft is not asked again', async () => {
    const agent = rig.agent();
    const callback = await rig.atMicrosoft(await rig.begin(agent));
    await rig.comeBack(agent, callback);
    expect(tokenPosts()).toBe(1);
    rig.completed.length = 0;
    const again = await rig.comeBack(agent, callback);
    expectLost();
    expect(again.body).toContain('start again');
    expect(tokenPosts()).toBe(1);
  });

  test('E6 ends once, however many ask at the same moment', async () => {
    const agent = rig.agent();
    const callback = await rig.atMicrosoft(await rig.begin(agent));
    await Promise.all(Array.from({ length: 8 }, () => rig.comeBack(agent, callback)));
    expect(rig.completed).toHaveLength(1);
    expect(tokenPosts()).toBe(1);
  });

  test('E6 ends in the browser in which it began, and is still there for it after another one tried', async () => {
    const agent = rig.agent();
    const callback = await rig.atMicrosoft(await rig.begin(agent));
    const other = rig.agent();
    await rig.begin(other); // it has a sign-in of its own under way
    await rig.comeBack(other, callback);
    expectLost();
    expect(tokenPosts()).toBe(0);
    await rig.comeBack(agent, callback);
    expect(rig.completed).toHaveLength(1);
  });

  test('E6 in two tabs ends in both, also when both began at the same moment', async () => {
    const agent = rig.agent();
    const urls = await Promise.all(['tab-1', 'tab-2'].map((uid) => rig.begin(agent, {}, uid)));
    for (const url of urls.reverse()) await rig.comeBack(agent, await rig.atMicrosoft(url));
    expect(rig.completed.map(({ uid }) => uid)).toEqual(['tab-2', 'tab-1']);
  });

  test('E6 began in twelve tabs leaves ten cookies, those of the last ten', async () => {
    const agent = rig.agent();
    const urls = [];
    for (let tab = 0; tab < 12; tab += 1) urls.push(await rig.begin(agent, {}, `tab-${tab}`));
    expect([...agent.cookies.keys()].filter((name) => name.startsWith('__Host-signet_entra_'))).toHaveLength(10);
    await rig.comeBack(agent, await rig.atMicrosoft(urls.at(-1)!));
    expect(rig.completed).toHaveLength(1);
  });

  test('E6 that takes a quarter of an hour is over', async () => {
    const agent = rig.agent();
    const callback = await rig.atMicrosoft(await rig.begin(agent));
    rig.clock.advance(14 * 60);
    const inTime = await rig.atMicrosoft(await rig.begin(agent));
    rig.clock.advance(61);
    await rig.comeBack(agent, callback);
    expectLost();
    expect(tokenPosts()).toBe(0);
    rig.clock.advance(-15 * 60 - 1);
    await rig.comeBack(agent, inTime);
    expect(rig.completed).toHaveLength(1);
  });

  test.each([
    ['missing', { state: null }],
    ['empty', { state: '' }],
    ['unknown', { state: 'A'.repeat(43) }],
    ['endless', { state: 'A'.repeat(5000) }],
  ])('E6 whose state is %s is refused', async (_name, parameters) => {
    const agent = rig.agent();
    const callback = changed(await rig.atMicrosoft(await rig.begin(agent)), parameters);
    expect((await rig.comeBack(agent, callback)).status).toBe(400);
    expect(rig.completed).toEqual([]);
    expect(tokenPosts()).toBe(0);
  });

  test('E6 whose state went to another connector is refused: of another tenant or application', async () => {
    const fabrikam = sim.addApp(sim.tenant('fabrikam'), { redirectUris: [redirectUri] });
    const other = await startRig(sim, {
      db: rig.db,
      config: {
        tenant: sim.tenant('fabrikam').id,
        clientId: fabrikam.clientId,
        clientSecret: fabrikam.secret,
      },
    });
    const agent = new UserAgent(issuer, rig.listening);
    const callback = await rig.atMicrosoft(await rig.begin(agent));
    const elsewhere = new UserAgent(issuer, other.listening);
    const cookie = [...agent.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    await elsewhere.request(callback.url, { headers: { Cookie: cookie } });
    expect(other.failures[0]).toMatchObject({ failure: 'lost', facts: { reason: 'configuration_changed' } });
    expect(tokenPosts()).toBe(0);
    await other.close();
  });

  test('E6 whose code was redeemed with another verifier ends as stale, and says so', async () => {
    const agent = rig.agent();
    const url = new URL(await rig.begin(agent));
    url.searchParams.set('code_challenge', 'B'.repeat(43));
    await rig.comeBack(agent, await rig.atMicrosoft(url.href));
    expect(rig.failures[0]).toMatchObject({ failure: 'stale', facts: { numbers: [501481] } });
  });

  test('E6 keeps nothing readable in the database, and nothing at all once it ended', async () => {
    const agent = rig.agent();
    const url = new URL(await rig.begin(agent));
    const { rows } = await rig.db.query('select * from entra_states');
    expect(rows.length).toBeGreaterThan(0);
    const stored = JSON.stringify(rows);
    for (const name of ['state', 'nonce']) expect(stored).not.toContain(url.searchParams.get(name)!);
    for (const value of agent.cookies.values()) expect(stored).not.toContain(value);
    expect(stored).not.toContain('uid-1');
    await rig.comeBack(agent, await rig.atMicrosoft(url.href));
    expect(rig.completed).toHaveLength(1);
    rig.clock.advance(901);
    await rig.connector.sweepExpired(rig.clock.now(), 1000);
    expect((await rig.db.query('select id from entra_states')).rowCount).toBe(0);
    rig.clock.advance(-901);
  });

  // Begin and end; and one that keeps what strangers begin within bounds.
  test('E6 costs three statements', async () => {
    const counted = await startRig(sim);
    let statements = 0;
    const { query } = counted.db;
    counted.db.query = (...asked) => {
      statements += 1;
      return query.apply(counted.db, asked) as never;
    };
    await counted.identify();
    await counted.close();
    expect(statements).toBe(3);
  });
});

describe('the cookie that binds a sign-in to its browser', () => {
  test('E7 is __Host-, Secure, HttpOnly and Lax, and is taken away at the end', async () => {
    const answer = await rig.agent().request(`${issuer}/begin/one`);
    const [line] = answer.headers.getSetCookie();
    const [pair, ...attributes] = line!.split('; ');
    expect(pair).toMatch(/^__Host-signet_entra_[\w-]{16}=[\w-]{43}$/);
    expect(attributes).toEqual(['Path=/', 'HttpOnly', 'SameSite=Lax', 'Secure', 'Max-Age=900']);
    const agent = rig.agent();
    await rig.signIn({ agent });
    expect([...agent.cookies.keys()]).toEqual([]);
  });
});

describe('with response_mode form_post', () => {
  test('E7 the posted answer is kept, and the GET that follows brings the cookie', async () => {
    await posting.signIn({ uid: 'posted' });
    expect(posting.completed.map(({ uid }) => uid)).toEqual(['posted']);
    const [authorize] = sim.requests('authorize');
    expect(authorize!.query.get('response_mode')).toBe('form_post');
  });

  test('E7 the code is in no address and no answer of ours, and not readable while it is kept', async () => {
    const agent = posting.agent();
    const { url, form } = await posting.atMicrosoft(await posting.begin(agent));
    const answer = await agent.request(url, { form });
    expect(answer.status).toBe(303);
    expect(answer.headers.get('location')).not.toContain(form!['code']!);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('referrer-policy')).toBe('no-referrer');
    expect(JSON.stringify((await posting.db.query('select * from entra_states')).rows)).not.toContain(form!['code']!);
  });

  test('E7 what was posted is used once, within a minute, and in the same browser', async () => {
    const agent = posting.agent();
    const { url, form } = await posting.atMicrosoft(await posting.begin(agent));
    const resume = new URL((await agent.request(url, { form })).headers.get('location')!, issuer).href;
    await posting.agent().visit(resume);
    expectLost(posting);
    posting.clock.advance(61);
    await agent.visit(resume);
    expectLost(posting);
    posting.clock.advance(-61);
    await agent.visit(resume);
    expect(posting.completed).toHaveLength(1);
    posting.completed.length = 0;
    await agent.visit(resume);
    expectLost(posting);
  });

  test('E7 a second POST does not replace the first', async () => {
    const agent = posting.agent();
    const { url, form } = await posting.atMicrosoft(await posting.begin(agent));
    await agent.request(url, { form });
    expect((await posting.agent().request(url, { form: { ...form, code: 'an-attackers-own' } })).status).toBe(400);
  });

  test('E7 a POST with no state, or a forged one, writes nothing', async () => {
    const before = (await posting.db.query('select * from entra_states')).rows;
    for (const state of [undefined, 'forged', 'B'.repeat(43)]) {
      const form: Record<string, string> = { code: 'x', ...(state !== undefined && { state }) };
      expect((await posting.agent().request(redirectUri, { form })).status).toBe(400);
    }
    expect((await posting.db.query('select * from entra_states')).rows).toEqual(before);
    expect(tokenPosts()).toBe(0);
  });

  test('E7 the same answer as a GET is refused, and so is a POST where query is configured', async () => {
    const agent = posting.agent();
    const { form } = await posting.atMicrosoft(await posting.begin(agent));
    await agent.visit(`${redirectUri}?${new URLSearchParams(form)}`);
    expectLost(posting);
    const { url } = await rig.atMicrosoft(await rig.begin(rig.agent()));
    const answer = await rig.agent().request(redirectUri, { form: Object.fromEntries(new URL(url).searchParams) });
    expect(answer.status).toBe(400);
    expect(tokenPosts()).toBe(0);
  });

  test('E7 a second factor that takes longer than two minutes changes nothing', async () => {
    for (const each of [rig, posting]) {
      const agent = each.agent();
      const callback = await each.atMicrosoft(await each.begin(agent));
      each.clock.advance(125);
      await each.comeBack(agent, callback);
      expect(each.completed).toHaveLength(1);
      each.clock.advance(-125);
    }
  });
});

describe('what comes to the callback', () => {
  test('E8 an error becomes a page that names no one, with what Microsoft’s support asks for', async () => {
    const errorDescription = 'AADSTS50105: <script>alert(1)</script>';
    sim.nextCallback({ error: 'access_denied', errorDescription });
    const answer = await rig.signIn();
    expect(answer.body).toContain('This account has no access');
    expect(answer.body).not.toContain('<script');
    expect(answer.body).toContain(rig.failures[0]!.facts.correlationId!);
    const { failure, downstream, facts } = rig.failures[0]!;
    expect([failure, downstream, facts.uid]).toEqual(['not_entitled', 'access_denied', 'uid-1']);
    expect(tokenPosts()).toBe(0);
  });

  test('E8 the return of an administrator who approved is thanked for', async () => {
    sim.nextCallback({ adminConsent: true, omit: ['code', 'state', 'session_state', 'client_info'] });
    const answer = await rig.signIn();
    expect(answer.status).toBe(200);
    expect(answer.body).toContain('Thank you');
    expect(rig.completed).toEqual([]);
  });

  test('E8 what else Entra sends along is ignored', async () => {
    sim.nextCallback({ set: { session_state: 'x', client_info: 'e30', cloud_instance_host_name: 'attacker.example' } });
    await rig.identify();
    sim.log.assertNeverCarried(sim.app.secret, 'attacker.example');
  });

  test.each([
    ['a parameter twice', { duplicate: ['code'] }],
    ['the state twice', { duplicate: ['state'] }],
    ['a code and an error', { set: { error: 'access_denied' } }],
    ['a code that is too long', { set: { code: 'x'.repeat(8193) } }],
    ['neither a code nor an error', { omit: ['code'] }],
    ['an empty code', { set: { code: '' } }],
  ])('E8 %s is refused, in either response mode', async (_name, doctoring) => {
    for (const each of [rig, posting]) {
      sim.nextCallback(doctoring);
      const answer = await each.signIn();
      expect(answer.status).toBe(400);
      expect(each.completed).toEqual([]);
    }
    expect(tokenPosts()).toBe(0);
  });

  test('E8 a HEAD, as a link scanner sends one, uses nothing up', async () => {
    const agent = rig.agent();
    const callback = await rig.atMicrosoft(await rig.begin(agent));
    const cookie = [...agent.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const head = await fetch(callback.url.replace(issuer, rig.listening), { method: 'HEAD', headers: { cookie } });
    expect(head.status).toBe(405);
    await rig.comeBack(agent, callback);
    expect(rig.completed).toHaveLength(1);
  });

  test('E40 a thousand callbacks that belong to no sign-in cause no request to Microsoft', async () => {
    const agent = rig.agent();
    for (let at = 0; at < 1000; at += 50) {
      await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          agent.request(`${redirectUri}?code=garbage-${at + index}&state=${'x'.repeat(index)}`),
        ),
      );
    }
    expect(sim.requests()).toEqual([]);
    expect(rig.completed).toEqual([]);
  });
});

describe('E9 the redirect URI', () => {
  test('is the configured one, whatever Host or a proxy header says', async () => {
    const answer = await rig.agent().request(`${issuer}/begin/one`, {
      headers: {
        'X-Forwarded-Host': 'attacker.example',
        'X-Forwarded-Proto': 'http',
        Forwarded: 'host=attacker.example;proto=http',
      },
    });
    const asked = new URL(answer.headers.get('location')!);
    expect(asked.searchParams.get('redirect_uri')).toBe(redirectUri);
    await rig.signIn();
    expect(sim.requests('token')[0]!.form.get('redirect_uri')).toBe(redirectUri);
  });
});

describe('what the person sees at Microsoft', () => {
  test('E11 a single sign-on session there signs in without a question', async () => {
    const visitor = createVisitor(sim);
    const agent = rig.agent();
    await rig.comeBack(agent, await rig.atMicrosoft(await rig.begin(agent), visitor));
    sim.signInAs(null); // without a session there the account picker would ask
    await rig.comeBack(agent, await rig.atMicrosoft(await rig.begin(agent), visitor));
    expect(rig.completed).toHaveLength(2);
    await visitor.close();
  });

  test('E5 E8 a refusal on Microsoft’s own page never returns, and the sign-in can be begun anew', async () => {
    sim.signInAs('ulf');
    const agent = rig.agent();
    await expect(rig.atMicrosoft(await rig.begin(agent))).rejects.toThrow('AADSTS50105');
    sim.signInAs('alice');
    await rig.signIn({ agent });
    expect(rig.completed).toHaveLength(1);
  });
});
