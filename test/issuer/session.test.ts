import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startWatchedIssuer, type WatchedIssuer } from '../support/issuer.ts';
import { person, type TestServer } from '../support/signet.ts';
import { authorizationRequest, signIn } from '../support/user-agent.ts';

let server: TestServer;
let issuer: WatchedIssuer;
beforeAll(async () => {
  issuer = await startWatchedIssuer();
  server = issuer.server;
});
afterAll(() => issuer.close());

describe('a person who signs in again in the same browser', () => {
  test('has a new session cookie, and a session at every moment: other tabs refresh meanwhile', async () => {
    const { agent } = await signIn(server.issuer);
    const before = agent.cookie('session');
    const page = await agent.visit(authorizationRequest(server.issuer, { prompt: 'login' }).url);
    const answered = await agent.request(page.url, { form: person });
    const resume = new URL(answered.headers.get('location')!, server.issuer);

    issuer.forget();
    await agent.request(issuer.url + resume.pathname);

    expect(agent.cookie('session')).not.toBe(before);
    const writes = issuer.statements.filter((statement) => /^(insert|update|delete) .*\bSession\b/.test(statement));
    expect(writes.map((statement) => statement.split(' ', 1)[0])).toEqual(['insert', 'update']);
  });
});
