// oauth2-proxy in front of a fixed answer, for requests that bring an access token of their own. Not ours to make
// strict: what it does not look at is a gap of the matrix, said in words.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../test/support/ports.ts';
import { type Contender, cache, run, untilAnswering } from './contenders.ts';
import { wrongType } from './tokens.ts';

const source = fileURLToPath(new URL('oauth2-proxy', import.meta.url));
const name = 'github.com/oauth2-proxy/oauth2-proxy/v7';

export const oauth2Proxy: Contender = {
  name: 'oauth2-proxy, bearer tokens',
  readsStatusLists: false,
  gaps: {
    [wrongType]: 'it does not look at "typ"; a real ID token, unless of its own client, has another audience',
    'without the scope': 'it does not look at "scope": what is behind it has to',
    'the revoked key, refused': 'it keeps keys until a token names one that it does not have',
  },
  prepare() {
    run('go', ['build', '-o', `${cache}/oauth2-proxy`, name], source);
    const versions = run('go', ['list', '-m', name, 'github.com/coreos/go-oidc/v3'], source).trim().split('\n');
    return versions.map((line) => line.split('/').slice(-2).join('/')).join(', ');
  },
  async start({ issuer, audience }) {
    const port = await freePort();
    const directory = mkdtempSync(join(tmpdir(), 'signet-oauth2-proxy-'));
    const file = join(directory, 'oauth2-proxy.cfg');
    writeFileSync(
      file,
      Object.entries({
        http_address: `127.0.0.1:${port}`,
        upstreams: ['static://200'],
        provider: 'oidc',
        oidc_issuer_url: issuer,
        client_id: 'orders-portal',
        client_secret: 'not used for bearer tokens',
        redirect_url: `http://127.0.0.1:${port}/oauth2/callback`,
        cookie_secret: 'x'.repeat(32),
        email_domains: ['*'],
        skip_jwt_bearer_tokens: true,
        extra_jwt_issuers: [`${issuer}=${audience}`],
        api_routes: ['^/orders'],
      })
        .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
        .join(''),
    );
    const child = spawn(`${cache}/oauth2-proxy`, ['--config', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    const running = await untilAnswering(child, `http://127.0.0.1:${port}/orders`);
    return {
      url: running.url,
      async stop() {
        await running.stop();
        rmSync(directory, { recursive: true, force: true });
      },
    };
  },
};
