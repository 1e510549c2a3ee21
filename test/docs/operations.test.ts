// The blocks of docs/operations.md are what really runs here: nginx and Caddy with TLS before a server, and the unit as
// systemd reads it. Of each, only ports, files and the machine's own paths are put in their places.

import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Agent, getGlobalDispatcher, setGlobalDispatcher } from 'undici';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { findCaddy } from '../../scripts/services.ts';
import { noNginx, type Proxy, runProxy, startNginx } from '../support/nginx.ts';
import { freePort } from '../support/ports.ts';
import { person, startSignet, type TestServer } from '../support/signet.ts';
import {
  asClient,
  authorizationRequest,
  authorize,
  redemption,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';

const page = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
const block = (language: string): string => new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'ms').exec(page)![1]!;
const noCaddy = Boolean(process.env.SIGNET_TEST_NO_CADDY);
const host = 'id.example.com';
const issuer = `https://${host}`;

/** What stands in the page, and what is there on this machine. Each has to be there, or the test would test nothing. */
function replaced(text: string, values: Record<string, string>): string {
  return Object.entries(values).reduce((before, [from, to]) => {
    expect(before).toContain(from);
    return before.replaceAll(from, to);
  }, text);
}

describe('a reverse proxy, as docs/operations.md has it', () => {
  let directory: string;
  let server: TestServer;
  const [certificate, key] = ['certificate.pem', 'key.pem'];

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'signet-proxy-'));
    await promisify(execFile)('openssl', [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-subj',
      `/CN=${host}`,
      '-addext',
      `subjectAltName=DNS:${host}`,
      '-keyout',
      join(directory, key),
      '-out',
      join(directory, certificate),
    ]);
    server = await startSignet({
      values: { issuer, proxy: { trusted: ['127.0.0.1'] }, passwords: { bcryptCost: 10 } },
    });
  });
  afterAll(async () => {
    await server?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const upstream = () => ({ '127.0.0.1:3000': new URL(server.url).host });
  const startOf: Record<string, (port: number) => Promise<Proxy>> = {
    nginx: (port) =>
      startNginx(
        replaced(block('nginx'), {
          ...upstream(),
          'listen 443 ssl': `listen 127.0.0.1:${port} ssl`,
          [`/etc/ssl/${host}.pem`]: join(directory, certificate),
          [`/etc/ssl/${host}.key`]: join(directory, key),
        }),
        port,
      ),
    // Caddy would get its certificate from an authority; here it is given one.
    caddy: (port) => {
      const file = join(directory, 'Caddyfile');
      writeFileSync(
        file,
        `{\n admin off\n auto_https disable_redirects\n}\n${replaced(block('caddyfile'), {
          ...upstream(),
          [`${host} {`]: `https://${host}:${port} {\n bind 127.0.0.1\n tls ${directory}/${certificate} ${directory}/${key}`,
        })}`,
      );
      return runProxy(findCaddy()!, ['run', '--config', file, '--adapter', 'caddyfile'], port, () => {}, {
        HOME: directory,
        XDG_DATA_HOME: directory,
        XDG_CONFIG_HOME: directory,
      });
    },
  };

  test.each([...(noNginx ? [] : ['nginx']), ...(noCaddy ? [] : ['caddy'])])(
    '%s: people sign in through it, and their address is their own, whatever they say of it',
    async (name) => {
      const port = await freePort();
      const proxy = await startOf[name]!(port);
      onTestFinished(() => proxy.stop());
      const before = getGlobalDispatcher();
      onTestFinished(() => setGlobalDispatcher(before));
      // The name leads to this machine, as DNS would have it; the client is somebody other than the proxy.
      const agent = new Agent({
        localAddress: '127.0.0.2',
        maxHeaderSize: 65_536,
        connect: {
          ca: readFileSync(join(directory, certificate)),
          lookup: (_name, { all }, found) =>
            all ? found(null, [{ address: '127.0.0.1', family: 4 }]) : found(null, '127.0.0.1', 4),
        },
      });
      setGlobalDispatcher(agent);
      onTestFinished(() => agent.close());
      const front = `${issuer}:${port}`;

      const guess = new UserAgent(issuer, front);
      const forged = { 'X-Forwarded-For': '203.0.113.9', 'X-Forwarded-Host': 'evil.example.net' };
      const form = await guess.visit(authorizationRequest(issuer).url, { headers: forged });
      expect([form.status, form.body.includes('name="password"')]).toEqual([200, true]);
      expect(form.body).not.toContain('evil.example.net');
      await guess.request(/action="([^"]*)"/.exec(form.body)![1]!, {
        form: { email: person.email, password: 'not the password' },
        headers: forged,
      });

      // The longest state that is allowed comes back in one redirect, also where each of its characters is sent as three.
      const discovery = (await (await fetch(`${front}/.well-known/openid-configuration`)).json()) as { issuer: string };
      expect(discovery.issuer).toBe(issuer);
      for (const state of ['s'.repeat(8192), '"'.repeat(8192)]) {
        const { url } = authorizationRequest(issuer, { state, prompt: 'none' });
        const refused = await new UserAgent(issuer, front).request(url);
        expect([refused.status, new URL(refused.headers.get('location')!).searchParams.get('state')]).toEqual([
          303,
          state,
        ]);
      }

      const request = authorizationRequest(issuer);
      const code = (await authorize(new UserAgent(issuer, front), request.url)).get('code')!;
      expect((await tokenRequest(front, redemption(request, code), asClient('spa'))).status).toBe(200);
      // Written behind the answers.
      const events = await vi.waitFor(
        async () => {
          const known = await server.store.audit.list({ limit: 100 });
          const names = known.filter(({ subject }) => subject !== undefined).map(({ event }) => event);
          expect(names).toEqual(expect.arrayContaining(['signin.succeeded', 'token.issued']));
          return known;
        },
        { timeout: 10_000, interval: 50 },
      );
      const addresses = events.filter(({ event }) => /^(signin|token)\./.test(event)).map(({ address }) => address);
      expect(events.map(({ event }) => event)).toContain('signin.refused');
      expect(new Set(addresses)).toEqual(new Set(['127.0.0.2']));
    },
    60_000,
  );
});

const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0;
test.skipIf(!hasSystemd)('the unit is one that systemd takes without a warning', () => {
  const directory = mkdtempSync(join(tmpdir(), 'signet-unit-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'signet.service');
  writeFileSync(
    file,
    replaced(block('ini'), {
      '/usr/bin/node': process.execPath,
      'User=signet': 'User=root',
      '/opt/signet': process.cwd(),
    }),
  );
  const { stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', '--recursive-errors=no', file], {
    encoding: 'utf8',
  });
  expect(stderr.split('\n').filter((line) => line.includes('signet.service'))).toEqual([]);
});

test('the settings that the page shows are good ones', () => {
  const directory = mkdtempSync(join(tmpdir(), 'signet-settings-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  writeFileSync(join(directory, 'signet.yaml'), block('yaml'));
  execFileSync(process.execPath, [join(process.cwd(), 'signet.js'), 'config', 'check'], { cwd: directory });
});
