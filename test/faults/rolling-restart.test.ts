// A stop loses nobody's request: two servers restarted in turn behind a real nginx that keeps connections, under load,
// and one server whose clients keep connections to it themselves. Each answer is recorded, and each connection that
// broke.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import bcrypt from 'bcrypt';
import { Agent } from 'undici';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { openStore } from '../../src/store.ts';
import { type ServerProcess, startServerProcess } from '../rotation/fleet.ts';
import { type ServerSettings, serverConfig } from '../rotation/scaled.ts';
import { engines, postgres } from '../support/engines.ts';
import { noNginx, type Proxy, startNginx } from '../support/nginx.ts';
import { freePort } from '../support/ports.ts';
import { ordersApi, person, secret } from '../support/signet.ts';
import { signIn } from '../support/user-agent.ts';

/** Clients that keep one connection each and ask one thing after another, and what became of each request. */
function startClients(url: string, refreshTokens: string[], services: number) {
  const seen = new Map<string, number>();
  const stopping = new AbortController();
  const note = (what: string) => void seen.set(what, (seen.get(what) ?? 0) + 1);

  async function ask(agent: Agent, path: string, form?: Record<string, string>, authorization?: string) {
    try {
      const { statusCode, body } = await agent.request({
        origin: url,
        path,
        method: form ? 'POST' : 'GET',
        ...(form && { body: new URLSearchParams(form).toString() }),
        headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...(authorization && { authorization }) },
      });
      const text = await body.text();
      note(`${path} ${statusCode}`);
      return statusCode === 200 ? (JSON.parse(text) as Record<string, string>) : undefined;
    } catch (error) {
      const { code, name } = error as NodeJS.ErrnoException;
      note(`${path} ${code ?? name}`);
      // Nobody listens any more: that is no request lost.
      if (code === 'ECONNREFUSED') stopping.abort();
      return undefined;
    }
  }

  async function loop(everyMs: number, work: (agent: Agent) => Promise<unknown>) {
    const agent = new Agent({ connections: 1, keepAliveTimeout: 60_000, keepAliveTimeoutThreshold: 0 });
    while (!stopping.signal.aborted) {
      await work(agent);
      await pause(everyMs);
    }
    await agent.close();
  }

  const loops = [
    ...refreshTokens.map((first) => {
      let newest: string | undefined = first;
      return loop(25, async (agent) => {
        newest = (
          await ask(agent, '/token', { grant_type: 'refresh_token', refresh_token: newest ?? '', client_id: 'device' })
        )?.refresh_token;
      });
    }),
    ...Array.from({ length: services }, () =>
      loop(10, (agent) =>
        ask(
          agent,
          '/token',
          { grant_type: 'client_credentials', resource: ordersApi },
          `Basic ${btoa(`service:${secret}`)}`,
        ),
      ),
    ),
    loop(15, (agent) => ask(agent, '/jwks')),
  ];
  return {
    seen,
    /** Resolves when so many more tokens were answered: each client was there by then, several times. */
    async answered(count: number) {
      const tokens = () => seen.get('/token 200') ?? 0;
      for (const before = tokens(); tokens() < before + count; ) await pause(10);
    },
    async stop() {
      stopping.abort();
      await Promise.all(loops);
      return Object.fromEntries([...seen].sort());
    },
  };
}

const onlyAnswers = (seen: object) => Object.keys(seen).filter((what) => !/ 200$/.test(what));

describe.skipIf(!engines.includes(postgres))('a server that is told to stop', () => {
  let settings: Omit<ServerSettings, 'port'>;
  let servers: ServerProcess[];
  let front: number;

  beforeAll(async () => {
    front = await freePort();
    const directory = await mkdtemp(join(tmpdir(), 'signet-restart-'));
    settings = {
      issuer: `http://localhost:${front}`,
      directory,
      database: await postgres.freshUrl(),
      scaled: false,
    };
    servers = [
      await startServerProcess({ ...settings, port: await freePort() }),
      await startServerProcess({ ...settings, port: await freePort() }),
    ];
    const store = await openStore(serverConfig({ ...settings, port: 0 }), silentLog);
    const passwordHash = await bcrypt.hash(person.password, 4);
    await store.accounts.create({ email: person.email, roles: [], passwordHash }, 'test');
    await store.close();
  }, 60_000);
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await rm(settings.directory, { recursive: true, force: true });
  });

  const nativeApp = { clientId: 'device', parameters: { redirect_uri: 'http://127.0.0.1/callback' } };
  const grants = (count: number) =>
    Promise.all(
      Array.from(
        { length: count },
        async () => (await signIn(settings.issuer, nativeApp)).tokens.refresh_token as string,
      ),
    );

  describe.skipIf(noNginx)('behind nginx that keeps connections', () => {
    let nginx: Proxy;
    beforeAll(async () => {
      // max_fails=0: nginx would take a server that was away a moment ago for gone, while the other one stops.
      const upstream = servers.map(({ port }) => `server 127.0.0.1:${port} max_fails=0;`).join(' ');
      nginx = await startNginx(
        `
        upstream signet { ${upstream} keepalive 16; }
        server {
          listen 127.0.0.1:${front};
          location / { proxy_pass http://signet; proxy_http_version 1.1; proxy_set_header Connection ""; }
        }`,
        front,
      );
    });
    afterAll(() => nginx.stop());

    test('loses no request, as each of two is restarted in turn', async () => {
      const clients = startClients(settings.issuer, await grants(3), 3);
      for (let restart = 0; restart < 2; restart += 1) {
        const server = servers[restart % 2]!;
        await clients.answered(60); // some load on both
        const asked = performance.now();
        await server.stop();
        expect(performance.now() - asked).toBeLessThan(10_000);
        servers[restart % 2] = await startServerProcess({ ...settings, port: server.port });
      }
      await clients.answered(60);
      const seen = await clients.stop();
      expect(onlyAnswers(seen), `${JSON.stringify(seen)}\n${nginx.errors().slice(-2000)}`).toEqual([]);
    }, 120_000);
  });

  test('answers whoever keeps a connection to it, and closes none under a request', async () => {
    const [server] = servers;
    const clients = startClients(`http://localhost:${server!.port}`, [], 8);
    await clients.answered(80);
    await server!.stop();
    const seen = await clients.stop();
    expect(
      onlyAnswers(seen).filter((what) => !what.endsWith('ECONNREFUSED')),
      JSON.stringify(seen),
    ).toEqual([]);
    servers[0] = await startServerProcess({ ...settings, port: server!.port });
  }, 60_000);
});
