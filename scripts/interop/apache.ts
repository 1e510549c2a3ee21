// Apache with mod_auth_openidc or mod_oauth2, as Debian packages them, guarding one file. Not programs of ours to make
// strict: what they do not look at is a gap of the matrix, said in words.

import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../test/support/ports.ts';
import { type Contender, type Place, run, untilAnswering } from './contenders.ts';
import { wrongType } from './tokens.ts';

const modules = '/usr/lib/apache2/modules';

// What neither module does, and what that means.
const gaps = {
  [wrongType]: 'it does not look at "typ"; a real ID token is refused, for its audience and for want of a client_id',
  'not valid yet': 'it does not look at "nbf", which Signet never sets',
};

interface Guarded {
  /** Lines of the server, and of the location it guards. */
  server: string[];
  location: string[];
}

function apache(
  name: string,
  packageName: string,
  traits: Partial<Contender>,
  guard: (place: Place, tls: Tls) => Guarded,
): Contender {
  return {
    name: `Apache, ${name}`,
    readsStatusLists: false,
    gaps,
    ...traits,
    prepare() {
      if (!existsSync(`${modules}/${name}.so`)) throw new Error(`apt-get install apache2 ${packageName}`);
      const versions = run('dpkg-query', ['-W', '-f', '${Package} ${Version}\n', packageName, 'apache2-bin']);
      return versions.trim().split('\n').join(', ').replace('libapache2-mod-', 'mod-');
    },
    async start(place) {
      const port = await freePort();
      const directory = mkdtempSync(join(tmpdir(), 'signet-apache-'));
      chmodSync(directory, 0o755); // its workers are another user
      writeFileSync(join(directory, 'orders'), '{"orders": []}\n');
      const tls = await startTls(place.issuer, directory);
      const { server, location } = guard(place, tls);
      writeFileSync(
        join(directory, 'apache.conf'),
        [
          `ServerRoot ${directory}`,
          `DefaultRuntimeDir ${directory}`,
          `PidFile ${directory}/pid`,
          'Mutex posixsem',
          `DocumentRoot ${directory}`,
          `ErrorLog ${directory}/error.log`,
          'ServerName localhost',
          `Listen 127.0.0.1:${port}`,
          ...['mpm_event', 'authn_core', 'authz_core'].map(
            (part) => `LoadModule ${part}_module ${modules}/mod_${part}.so`,
          ),
          `LoadModule ${name.replace('mod_', '')}_module ${modules}/${name}.so`,
          ...(process.getuid?.() === 0 ? ['User www-data', 'Group www-data'] : []),
          ...server,
          '<Location /orders>',
          ...location.map((line) => `  ${line}`),
          '</Location>',
          '',
        ].join('\n'),
      );
      const args = ['-f', join(directory, 'apache.conf'), '-DFOREGROUND'];
      const child = spawn('/usr/sbin/apache2', args, { stdio: ['ignore', 'ignore', 'pipe'] });
      const running = await untilAnswering(child, `http://127.0.0.1:${port}/orders`);
      return {
        url: running.url,
        async stop() {
          await running.stop();
          await tls.close();
          rmSync(directory, { recursive: true, force: true });
        },
      };
    },
  };
}

const modAuthOpenidc = apache(
  'mod_auth_openidc',
  'libapache2-mod-auth-openidc',
  { keysSecondsAtLeast: 300 },
  ({ issuer, audience, keysSeconds }, { url, certificate }) => ({
    server: [
      'OIDCCryptoPassphrase only-for-the-relying-party-half-of-it',
      `OIDCCABundlePath ${certificate}`,
      `OIDCOAuthVerifyJwksUri ${url}/jwks`,
      `OIDCJWKSRefreshInterval ${keysSeconds}`,
      'OIDCOAuthAcceptTokenAs header',
      'OIDCOAuthRemoteUserClaim sub',
    ],
    location: [
      'AuthType oauth20',
      '<RequireAll>',
      `  Require claim iss:${issuer}`,
      `  Require claim aud:${audience}`,
      '  Require claim client_id~.+',
      '  Require claim "scope~(^| )orders:read( |$)"',
      '</RequireAll>',
    ],
  }),
);

const modOauth2 = apache('mod_oauth2', 'libapache2-mod-oauth2', {}, ({ issuer, audience, keysSeconds }) => {
  const options = `jwks_uri.expiry=${keysSeconds}&expiry=${keysSeconds}&verify.exp=required&verify.iat=required`;
  return {
    server: [],
    location: [
      'AuthType oauth2',
      `OAuth2TokenVerify jwks_uri ${issuer}/jwks ${options}`,
      '<RequireAll>',
      `  Require oauth2_claim iss:${issuer}`,
      `  Require oauth2_claim aud:${audience}`,
      `  Require expr "-n %{REMOTE_USER} && -n reqenv('OAUTH2_CLAIM_client_id')"`,
      `  Require expr "-n %{REMOTE_USER} && reqenv('OAUTH2_CLAIM_scope') =~ /(^| )orders:read( |$)/"`,
      '</RequireAll>',
    ],
  };
});

interface Tls {
  url: string;
  /** File with the certificate, its own authority. */
  certificate: string;
  close(): Promise<void>;
}

/** https in front of an issuer that has only http here: mod_auth_openidc fetches keys from nothing else. */
async function startTls(issuer: string, directory: string): Promise<Tls> {
  const [key, certificate] = [join(directory, 'tls.key'), join(directory, 'tls.pem')];
  run('openssl', [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '1',
    '-subj',
    '/CN=localhost',
    '-addext',
    'subjectAltName=DNS:localhost',
    '-keyout',
    key,
    '-out',
    certificate,
  ]);
  const identity = { key: readFileSync(key), cert: readFileSync(certificate) };
  const server = createServer(identity, async (request, response) => {
    const answer = await fetch(`${issuer}${request.url}`);
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'application/json' });
    response.end(await answer.text());
  });
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  return {
    url: `https://localhost:${(server.address() as AddressInfo).port}`,
    certificate,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export const apaches = [modAuthOpenidc, modOauth2];
