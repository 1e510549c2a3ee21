import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { aadstsTable, type EntraSim, startEntraSim } from '../../entra-sim/index.ts';
import { type FailureClass, failures } from '../../src/entra/errors.ts';
import { classify, readErrorResponse } from '../../src/entra/oauth-error.ts';
import { type Rig, startRig } from './rig.ts';

let sim: EntraSim;
let rig: Rig;
beforeAll(async () => {
  sim = await startEntraSim();
  rig = await startRig(sim);
});
afterAll(async () => {
  await rig.close(); // says so if a token, code, secret, UPN or e-mail address stands in the log
  await sim.close();
});
beforeEach(() => {
  sim.reset();
  sim.signInAs('alice');
  rig.completed.length = rig.failures.length = 0;
});

const numbered = (Object.entries(failures) as Array<[FailureClass, { numbers: readonly number[] }]>)
  .flatMap(([failure, { numbers }]) => numbers.map((number) => [number, failure] as const))
  .filter(([number]) => number in aadstsTable);

/** What the description of a real failure holds, and nobody else may see. */
const personal = 'The user alice@contoso.example <script>alert(1)</script> from 192.0.2.77';

describe('E5 E15 E25 E38 what Entra’s token endpoint answers', () => {
  test('every number of the table is tried', () => {
    const all = Object.values(failures).flatMap(({ numbers }) => numbers);
    expect(all.filter((number) => !(number in aadstsTable))).toEqual([]);
    expect(numbered.length).toBeGreaterThan(55);
  });

  test.each(numbered)('AADSTS%i means: %s', async (number, failure) => {
    sim.fault('token', { aadsts: { number, text: personal } });
    const answer = await rig.signIn();
    const { status, title, downstream } = failures[failure];
    expect(rig.completed).toEqual([]);
    expect(rig.failures).toMatchObject([{ failure, downstream }]);
    expect(answer.status).toBe(status);
    expect(answer.body).toContain(title);
    // Who did something on purpose has nothing to report.
    const isReported = !['declined', 'consent_declined'].includes(failure);
    expect(answer.body.includes(rig.failures[0]!.facts.correlationId!)).toBe(isReported);
    expect(answer.body).not.toMatch(/alice|192\.0\.2\.77|alert/);
    const [event] = await rig.audit.list({ limit: 1 });
    expect(event).toMatchObject({ event: 'signin.refused', detail: { method: 'entra', failure } });
    expect(JSON.stringify(event)).not.toMatch(/alice|192\.0\.2\.77/);
  });

  test.each([
    ['invalid_grant', 'stale'],
    ['invalid_client', 'credential'],
    ['unauthorized_client', 'app_config'],
    ['invalid_request', 'app_config'],
    ['invalid_scope', 'app_config'],
    ['interaction_required', 'interaction'],
    ['access_denied', 'declined'],
    ['consent_required', 'consent'],
    ['login_required', 'no_session'],
    ['temporarily_unavailable', 'transient'],
    ['server_error', 'transient'],
    ['something_new', 'app_config'],
    ['constructor', 'app_config'],
    ['__proto__', 'app_config'],
  ])('an unknown number falls back to what %s means: %s', async (error, failure) => {
    sim.fault('token', { aadsts: { number: 99_999_999, error, status: 400, text: personal } });
    await rig.signIn();
    expect(rig.failures).toMatchObject([{ failure, facts: { numbers: [99_999_999] } }]);
  });

  test.each([
    ['an error that is no text', { error: 42 }],
    ['an error that is an object', { error: { code: 'x' } }],
    ['an empty error', { error: '' }],
    ['no error at all', { message: personal }],
  ])('%s is no refusal: nothing is known, so it is "not right now"', async (_name, body) => {
    sim.fault('token', { status: 400, body });
    await rig.signIn();
    expect(rig.failures).toMatchObject([{ failure: 'transient', facts: { reason: 'not_json' } }]);
  });

  test.each([
    ['numbers that are text', { error: 'invalid_grant', error_codes: ['50105'], error_description: personal }],
    ['numbers that are no list', { error: 'invalid_grant', error_codes: 50105, suberror: 7, trace_id: {}, claims: [] }],
    ['a description of a megabyte', { error: 'invalid_grant', error_description: 'x'.repeat(1_000_000) }],
    ['an error with a line feed and markup', { error: 'invalid_grant', suberror: '<b>\nforged log line</b>' }],
  ])('%s is read as far as it makes sense', async (_name, body) => {
    sim.fault('token', { status: 400, body });
    const answer = await rig.signIn();
    expect(rig.failures).toMatchObject([{ failure: 'stale', facts: { numbers: [] } }]);
    expect(answer.body.length).toBeLessThan(20_000);
    expect(rig.logged()).not.toContain('forged log line');
  });

  test('an error that is no word is not repeated', async () => {
    sim.fault('token', { status: 400, body: { error: '<script>x</script>\nforged' } });
    await rig.signIn();
    expect(rig.failures).toMatchObject([{ failure: 'app_config', facts: { reason: 'unreadable' } }]);
    expect(rig.logged()).not.toContain('<script>');
  });

  test('an error with status 200 is an error', async () => {
    sim.fault('token', { status: 200, body: { error: 'invalid_grant', error_codes: [50105] } });
    await rig.signIn();
    expect(rig.failures).toMatchObject([{ failure: 'not_entitled' }]);
  });

  test.each([
    ['seconds', 17],
    ['a date', 'date'],
  ])('E38 a 429 says when to come back (Retry-After in %s), and nothing tries again by itself', async (_form, wait) => {
    const retryAfter = wait === 'date' ? new Date(Date.now() + 17_000) : 17;
    sim.fault('token', { status: 429, body: { error: 'temporarily_unavailable', error_codes: [90055] }, retryAfter });
    const answer = await rig.signIn();
    expect(answer.status).toBe(503);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(14);
    expect(Number(answer.headers.get('retry-after'))).toBeLessThan(18);
    expect(answer.body).toMatch(/Try again in 1[5-7] seconds/);
    expect(answer.body).not.toMatch(/http-equiv|<script/i);
    expect(answer.headers.get('refresh')).toBeNull();
    expect(sim.requests('token')).toHaveLength(1);
  });
});

describe('what Entra sends to the callback', () => {
  const returning: Array<[string, number, FailureClass, string]> = [
    ['access_denied', 65004, 'declined', 'access_denied'],
    ['access_denied', 50105, 'not_entitled', 'access_denied'],
    ['invalid_grant', 65001, 'consent', 'access_denied'],
    ['access_denied', 90094, 'consent', 'access_denied'],
    ['access_denied', 50057, 'account_state', 'access_denied'],
    ['access_denied', 53003, 'policy', 'access_denied'],
    ['interaction_required', 50076, 'interaction', 'interaction_required'],
    ['login_required', 50058, 'no_session', 'login_required'],
    ['invalid_client', 650052, 'credential', 'temporarily_unavailable'],
    ['unauthorized_client', 700016, 'app_config', 'server_error'],
    ['invalid_scope', 70011, 'app_config', 'server_error'],
    ['server_error', 90033, 'transient', 'temporarily_unavailable'],
    ['temporarily_unavailable', 90024, 'transient', 'temporarily_unavailable'],
  ];

  test.each(returning)('%s with AADSTS%i means: %s', async (error, number, failure, downstream) => {
    sim.nextCallback({ error, errorDescription: `AADSTS${number}: ${personal}` });
    const answer = await rig.signIn();
    expect(rig.failures).toMatchObject([{ failure, downstream, facts: { uid: 'uid-1' } }]);
    expect(answer.body).not.toMatch(/alice|192\.0\.2\.77|alert/);
    expect(sim.requests('token')).toEqual([]);
  });

  test('a person who may not consent gets the link for an administrator', async () => {
    sim.nextCallback({ error: 'access_denied', errorDescription: 'AADSTS90094: x' });
    await rig.signIn();
    const url = new URL(rig.failures[0]!.facts.adminConsentUrl!);
    expect(url.pathname).toBe(`/${sim.tenant('contoso').id}/v2.0/adminconsent`);
    expect(url.searchParams.get('client_id')).toBe(sim.app.clientId);
  });

  test('a description that imitates a number in its middle changes nothing', async () => {
    sim.nextCallback({ error: 'access_denied', errorDescription: 'see AADSTS50105 for details' });
    await rig.signIn();
    expect(rig.failures).toMatchObject([{ failure: 'declined' }]);
  });
});

describe('the table of failures', () => {
  test('no number stands in two classes', () => {
    const all = Object.values(failures).flatMap(({ numbers }) => numbers);
    expect(new Set(all).size).toBe(all.length);
  });

  test('a number never turns a refused client into a person’s failure', () => {
    for (const { numbers } of Object.values(failures)) {
      expect(classify({ error: 'invalid_client', numbers })).toBe('credential');
    }
  });

  test('a suberror goes before a number', () => {
    expect(classify({ error: 'invalid_grant', suberror: 'consent_required', numbers: [50105] })).toBe('consent');
    expect(classify({ error: 'interaction_required', suberror: 'message_only', numbers: [50076] })).toBe('policy');
  });

  test('only what has the expected form is kept of an answer', () => {
    const answer = { error: 'invalid_grant', error_codes: [1.5, 50105, 'x', null], suberror: 'a b', trace_id: 'x' };
    expect(readErrorResponse(answer)).toEqual({ error: 'invalid_grant', numbers: [50105] });
    expect(readErrorResponse({ access_token: 'x' })).toBeUndefined();
  });
});
