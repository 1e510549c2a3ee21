import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startSignet, type TestServer } from '../support/signet.ts';
import { authorizationRequest, signIn, type UserAgent } from '../support/user-agent.ts';

// Registered: https://app.example.com/callback, and https://app.example.com/ for after sign-out. The comparison is of
// characters, not of URLs (RFC 9700 §4.1.3): whatever a browser, a proxy or a parser would make of these is no excuse.
const tricks: Record<string, string> = {
  'another host': 'https://attacker.example/callback',
  'http instead of https': 'http://app.example.com/callback',
  'another scheme': 'ftp://app.example.com/callback',
  'a private-use scheme': 'com.example.app:/callback',
  'no scheme': '//app.example.com/callback',
  'a path alone': '/callback',
  'a relative path': 'callback',
  'userinfo before the registered host': 'https://attacker@app.example.com/callback',
  'the registered host as userinfo': 'https://app.example.com@attacker.example/callback',
  'the registered host as user and password': 'https://app.example.com:443@attacker.example/callback',
  'an encoded @': 'https://app.example.com%40attacker.example/callback',
  'backslashes for slashes': 'https:\\\\app.example.com\\callback',
  'a backslash before an @': 'https://attacker.example\\@app.example.com/callback',
  'a backslash after the host': 'https://app.example.com\\.attacker.example/callback',
  'an encoded slash': 'https://app.example.com%2fcallback',
  'an encoded slash in the path': 'https://app.example.com/%2fcallback',
  'a double slash in the path': 'https://app.example.com//callback',
  'a slash at the end': 'https://app.example.com/callback/',
  'a missing slash': 'https:/app.example.com/callback',
  'three slashes': 'https:///app.example.com/callback',
  'an upper-case host': 'https://APP.example.com/callback',
  'an upper-case scheme': 'HTTPS://app.example.com/callback',
  'an upper-case path': 'https://app.example.com/Callback',
  'the default port': 'https://app.example.com:443/callback',
  'another port': 'https://app.example.com:8443/callback',
  'an empty port': 'https://app.example.com:/callback',
  'a dot at the end of the host': 'https://app.example.com./callback',
  'a subdomain': 'https://evil.app.example.com/callback',
  'the parent domain': 'https://example.com/callback',
  'the registered host as a prefix': 'https://app.example.com.attacker.example/callback',
  'the registered host as a suffix': 'https://attackerapp.example.com/callback',
  'an IPv6 address': 'https://[::1]/callback',
  'an IPv4 address in IPv6': 'https://[::ffff:127.0.0.1]/callback',
  'an IPv4 address': 'https://127.0.0.1/callback',
  'a number for an address': 'https://2130706433/callback',
  'loopback, which only a native application may have': 'http://127.0.0.1:49152/callback',
  localhost: 'http://localhost/callback',
  'a fragment': 'https://app.example.com/callback#fragment',
  'an empty fragment': 'https://app.example.com/callback#',
  'an encoded fragment': 'https://app.example.com/callback%23',
  'an added query': 'https://app.example.com/callback?next=https://attacker.example',
  'an empty query': 'https://app.example.com/callback?',
  'a matrix parameter': 'https://app.example.com/callback;next=attacker',
  'a path below': 'https://app.example.com/callback/deeper',
  'a path above': 'https://app.example.com/callback/..',
  'a path out and in again': 'https://app.example.com/callback/../callback',
  'an encoded path out': 'https://app.example.com/callback/%2e%2e/open-redirect',
  'a single dot': 'https://app.example.com/./callback',
  'an encoded letter': 'https://app.example.com/%63allback',
  'a letter encoded twice': 'https://app.example.com/%2563allback',
  'a null character': 'https://app.example.com/callback\0',
  'an encoded null character': 'https://app.example.com/callback%00',
  'a tab inside': 'https://app.exam\tple.com/callback',
  'a line break inside': 'https://app.example.com/call\nback',
  'a header after a line break': 'https://app.example.com/callback\r\nSet-Cookie: planted=1',
  'an encoded line break': 'https://app.example.com/callback%0d%0aSet-Cookie:%20planted=1',
  'white space before': ' https://app.example.com/callback',
  'white space after': 'https://app.example.com/callback ',
  'a Cyrillic letter': 'https://\u0430pp.example.com/callback',
  'a full-width letter': 'https://\uff41pp.example.com/callback',
  'an ideographic full stop': 'https://app\u3002example\u3002com/callback',
  'a zero-width space': 'https://app.example.com/call\u200bback',
  'a byte order mark': '\ufeffhttps://app.example.com/callback',
  punycode: 'https://xn--pp-6kc.example.com/callback',
  'two addresses': 'https://app.example.com/callback,https://attacker.example/',
  'two addresses apart': 'https://app.example.com/callback https://attacker.example/',
  'a wildcard': 'https://*.example.com/callback',
  'a script': 'javascript:alert(document.domain)//https://app.example.com/callback',
  data: 'data:text/html,<script>alert(1)</script>',
  'a file': 'file:///callback',
  'a blob': 'blob:https://app.example.com/callback',
  'about:blank': 'about:blank',
  'the out-of-band address of old': 'urn:ietf:wg:oauth:2.0:oob',
  "the issuer's own sign-out": '/session/end',
  "another application's address": 'https://reports.example.net/cb',
  'the address for after sign-out': 'https://app.example.com/',
  'something very long': `https://app.example.com/callback?${'a'.repeat(6_000)}`,
};

let server: TestServer;
/** Signed in, so that for a first-party application nothing but the redirect URI is in the way of a code. */
let agent: UserAgent;
beforeAll(async () => {
  server = await startSignet();
  ({ agent } = await signIn(server.issuer));
});
afterAll(() => server.close());

async function expectErrorPage(url: string): Promise<void> {
  const page = await agent.request(url);
  expect(page.status).toBe(400);
  expect(page.headers.get('location')).toBeNull();
  expect(page.headers.get('set-cookie') ?? '').not.toContain('planted');
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
  expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
  expect(page.body).not.toContain('attacker');
}

test('a person who is signed in does get a code at the registered redirect URI', async () => {
  const answer = await agent.request(authorizationRequest(server.issuer).url);
  expect(answer.headers.get('location')).toMatch(/^https:\/\/app\.example\.com\/callback\?code=/);
});

describe('a redirect URI that is not the registered one is answered by an error page', () => {
  test.each(Object.entries(tricks))('%s', async (_name, uri) => {
    await expectErrorPage(authorizationRequest(server.issuer, { redirect_uri: uri }).url);
  });

  test('also where the request has other faults, or may not ask anybody', async () => {
    const redirect_uri = 'https://attacker.example/callback';
    for (const fault of [
      { prompt: 'none' },
      { response_type: 'token' },
      { response_mode: 'form_post' },
      { response_mode: 'fragment' },
      { scope: 'openid\n' },
      { code_challenge: undefined, code_challenge_method: undefined },
      { client_id: 'nobody' },
      { request: 'e30.e30.' },
      { resource: 'https://unknown.example.com' },
      { response_mode: 'web_message' },
    ]) {
      await expectErrorPage(authorizationRequest(server.issuer, { redirect_uri, ...fault }).url);
    }
  });

  test('also where it is missing, empty, or stands there twice, the registered one first or last', async () => {
    const good = encodeURIComponent('https://app.example.com/callback');
    const bad = encodeURIComponent('https://attacker.example/callback');
    const { url } = authorizationRequest(server.issuer, { redirect_uri: undefined });
    const queries = [
      '',
      '&redirect_uri=',
      `&redirect_uri=${good}&redirect_uri=${bad}`,
      `&redirect_uri=${bad}&redirect_uri=${good}`,
      `&redirect_uri=${good}&redirect_uri=${good}`,
      `&redirect_uri[]=${bad}`,
      `&redirect_uri[0]=${bad}`,
    ];
    for (const query of queries) await expectErrorPage(url + query);
  });
});

describe('a native application listens on a port that it cannot choose (RFC 8252 §7.3)', () => {
  const location = async (redirect_uri: string) => {
    const page = await agent.visit(authorizationRequest(server.issuer, { client_id: 'device', redirect_uri }).url);
    return (await agent.submit(page, { decision: 'allow' })).url;
  };

  test('so any port of the registered loopback address is good', async () => {
    expect(await location('http://127.0.0.1:49152/callback')).toMatch(/^http:\/\/127\.0\.0\.1:49152\/callback\?code=/);
    expect(await location('http://127.0.0.1/callback')).toMatch(/^http:\/\/127\.0\.0\.1\/callback\?code=/);
  });

  test('and its own scheme is good as it was registered', async () => {
    expect(await location('com.example.desktop:/callback')).toMatch(/^com\.example\.desktop:\/callback\?code=/);
  });

  test.each([
    'http://127.0.0.1:49152/other',
    'http://127.0.0.1:49152/callback?x',
    'http://localhost:49152/callback',
    'http://127.0.0.2:49152/callback',
    'http://[::1]:49152/callback',
    'https://127.0.0.1:49152/callback',
    'http://127.0.0.1:49152@attacker.example/callback',
    'http://127.0.0.1.attacker.example:49152/callback',
    'http://127.0.0.1:99999/callback',
    'http://127.0.0.1:4915x/callback',
    'http://127.1:49152/callback',
    'http://user@127.0.0.1:49152/callback',
    'com.example.desktop://callback',
    'com.example.desktop:/callback/',
    'com.example.other:/callback',
  ])('and nothing else is: %s', async (uri) => {
    await expectErrorPage(authorizationRequest(server.issuer, { client_id: 'device', redirect_uri: uri }).url);
  });
});

describe('an address for after sign-out that is not the registered one is answered by an error page', () => {
  const registered = 'https://app.example.com/';
  const endSession = (uri: string) =>
    `/session/end?${new URLSearchParams({ client_id: 'spa', post_logout_redirect_uri: uri })}`;

  test('the registered one is good', async () => {
    expect((await agent.request(endSession(registered))).status).toBe(200);
  });

  // One of them is what is registered here, and so no trick.
  test.each(Object.entries(tricks).filter(([, uri]) => uri !== registered))('%s', async (_name, uri) => {
    await expectErrorPage(endSession(uri));
  });

  test('and without knowing for whom, nobody is sent anywhere', async () => {
    const page = await agent.request(`/session/end?post_logout_redirect_uri=${encodeURIComponent(registered)}`);
    expect(page.status).toBe(200);
    expect(page.body).not.toContain('app.example.com');
  });
});
