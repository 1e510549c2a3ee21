// The connector behind a server of its own, the simulated Entra behind its network, and a browser between them. The
// configuration is that of production; only the sockets lead elsewhere.

import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Router from '@koa/router';
import Koa from 'koa';
import { Agent } from 'undici';
import type { EntraSim } from '../../entra-sim/index.ts';
import { type Audit, createAudit } from '../../src/audit/audit.ts';
import { loadConfig } from '../../src/config/config.ts';
import type { Database } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { openDatabase } from '../../src/database/open.ts';
import type { BeginOptions } from '../../src/entra/authorization-request.ts';
import { entraCallbackPath } from '../../src/entra/callback.ts';
import { createEntraConnector, type EntraConnector } from '../../src/entra/connector.ts';
import { EntraError } from '../../src/entra/errors.ts';
import type { EntraIdentity } from '../../src/entra/identity.ts';
import { callbackRoutes } from '../../src/entra/sign-in.ts';
import { answerErrors } from '../../src/issuer/pages.ts';
import { createReturnLinks } from '../../src/issuer/return-links.ts';
import { createSeal } from '../../src/keys/seal.ts';
import { createLog } from '../../src/log.ts';
import { failurePage } from '../../src/signin/microsoft.ts';
import { securityHeaders } from '../../src/web/headers.ts';
import { createPages } from '../../src/web/pages.ts';
import { requestId } from '../../src/web/request.ts';
import { createVisitor, type Visitor } from '../entra-sim/visitor.ts';
import { noteSecret, secretsIn } from '../support/secrets.ts';
import { type Answer, UserAgent } from '../support/user-agent.ts';

export const issuer = 'https://signet.example';
export const redirectUri = `${issuer}${entraCallbackPath}`;

/** What Microsoft's page would have the browser do. */
export interface Callback {
  url: string;
  form?: Record<string, string>;
  /** The form as it stands on the page: a field may be there twice. */
  fields?: Array<[string, string]>;
}

export interface Rig {
  sim: EntraSim;
  connector: EntraConnector;
  db: Database;
  audit: Audit;
  /** Who came through, in order. Nothing here: no session, no code, no grant. */
  completed: Array<{ identity: EntraIdentity; uid: string }>;
  /** Why sign-ins failed, in order. */
  failures: EntraError[];
  /** Where requests go in place of `issuer`. */
  listening: string;
  clock: { now(): number; advance(seconds: number): void };
  agent(): UserAgent;
  begin(agent: UserAgent, options?: BeginOptions, uid?: string): Promise<string>;
  /** Goes through Microsoft's pages as a new browser session there, or as that of `visitor`. */
  atMicrosoft(url: string, visitor?: Visitor): Promise<Callback>;
  comeBack(agent: UserAgent, callback: Callback): Promise<Answer>;
  /** The whole way. */
  signIn(options?: BeginOptions & { uid?: string; agent?: UserAgent }): Promise<Answer>;
  /** The identity of a sign-in that must succeed. */
  identify(options?: BeginOptions): Promise<EntraIdentity>;
  logged(): string;
  close(): Promise<void>;
}

export interface RigOptions {
  config?: Record<string, unknown>;
  /** Another server's, to share it. */
  db?: Database;
}

export async function startRig(sim: EntraSim, { config: values = {}, db: shared }: RigOptions = {}): Promise<Rig> {
  const { entra } = loadConfig({
    env: {},
    values: {
      issuer,
      entra: {
        tenant: sim.app.home.id,
        clientId: sim.app.clientId,
        recheck: { every: 0 },
        ...(['clientSecret', 'clientSecretFile', 'certificateFile', 'federatedTokenFile'].some((name) => name in values)
          ? {}
          : { clientSecret: sim.app.secret }),
        ...values,
      },
    },
  });
  if (!sim.app.redirectUris.includes(redirectUri)) sim.app.addRedirectUri(redirectUri);
  for (const secret of sim.app.secrets) noteSecret('client secret', secret.value);

  const directory = await mkdtemp(join(tmpdir(), 'signet-entra-'));
  const db = shared ?? (await openDatabase(`sqlite:${join(directory, 'signet.db')}`));
  await migrate(db);
  let offsetMs = 0;
  const now = () => Date.now() + offsetMs;
  const lines: string[] = [];
  const log = createLog('debug', (line) => lines.push(line));
  const audit = createAudit(db, { log });
  const dispatcher = new Agent({ connect: sim.connector() });
  const seal = createSeal([Buffer.alloc(32, 7)]);
  const connector = createEntraConnector({ config: entra!, issuer, db, seal, log, dispatcher, now });
  const pages = createPages({ branding: { name: 'Signet', color: '#1f5eff' }, issuer });

  const returnLinks = createReturnLinks({
    issuer,
    seal,
    clients: { find: async () => undefined, list: async () => [] },
  });
  const completed: Rig['completed'] = [];
  const failures: EntraError[] = [];
  const app = new Koa();
  app.silent = true;
  app.use(requestId());
  app.use(securityHeaders({ issuer }));
  app.use(answerErrors({ pages, returnLinks, audit, log }));
  app.use((ctx, next) => {
    ctx.state.address = ctx.get('X-Test-Address') || '192.0.2.1';
    return next();
  });
  const router = new Router();
  router.get('/begin/:uid', async (ctx) => {
    const options = JSON.parse(String(ctx.query['options'] ?? '{}')) as BeginOptions;
    try {
      ctx.redirect(await connector.begin(ctx, { uid: ctx.params['uid']! }, options));
    } catch (error) {
      if (error instanceof EntraError) failures.push(error);
      throw error;
    }
  });
  app.use(router.routes());
  app.use(
    callbackRoutes({
      connector,
      audit,
      log,
      async failed(ctx, error) {
        failures.push(error);
        await failurePage(pages, returnLinks)(ctx, error);
      },
      async finished(ctx, { identity, uid }) {
        completed.push({ identity, uid });
        ctx.body = `signed in ${uid}`;
      },
    }).routes(),
  );
  const server = await listen(app);
  const listening = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const visitors: Visitor[] = [];

  const rig: Rig = {
    sim,
    connector,
    db,
    audit,
    completed,
    failures,
    listening,
    clock: {
      now,
      advance: (seconds) => {
        offsetMs += seconds * 1000;
      },
    },
    agent: () => new UserAgent(issuer, listening),

    async begin(agent, options = {}, uid = 'uid-1') {
      const query = new URLSearchParams({ options: JSON.stringify(options) });
      const answer = await agent.request(`${issuer}/begin/${uid}?${query}`);
      const location = answer.headers.get('location');
      if (location === null) throw new Error(`no redirect to Microsoft: ${answer.status} ${answer.body.slice(0, 400)}`);
      noteSecret('state', new URL(location).searchParams.get('state'));
      return location;
    },

    async atMicrosoft(url, visitor) {
      const browser = visitor ?? createVisitor(sim);
      if (!visitor) visitors.push(browser);
      const response = await browser.request(url);
      const location = response.headers.get('location');
      if (location !== null) {
        noteSecret('code', new URL(location).searchParams.get('code'));
        return { url: location };
      }
      const page = await response.text();
      const action = /<form method="POST" name="hiddenform" action="([^"]+)"/.exec(page)?.[1];
      if (action === undefined) throw new Error(`nobody is sent back: ${response.status} ${page.slice(-500)}`);
      const inputs = page.matchAll(/name="([^"]+)" value="([^"]*)"/g);
      const fields = Array.from(inputs, ([, name, value]): [string, string] => [name!, value!]);
      const form = Object.fromEntries(fields);
      noteSecret('code', form['code']);
      return { url: action, form, fields };
    },

    async comeBack(agent, { url, fields }) {
      if (!fields) return agent.visit(url);
      // A browser does not send our Lax cookie along with a form that another site posts.
      const posted = await fetch(url.replace(issuer, listening), {
        method: 'POST',
        redirect: 'manual',
        body: new URLSearchParams(fields),
        headers: { Accept: 'text/html', 'Sec-Fetch-Site': 'cross-site' },
      });
      const { status, headers } = posted;
      const next = headers.get('location');
      if (next === null) return { status, headers, url, body: await posted.text() };
      return agent.visit(new URL(next, issuer).href);
    },

    async signIn({ uid, agent = rig.agent(), ...options } = {}) {
      return rig.comeBack(agent, await rig.atMicrosoft(await rig.begin(agent, options, uid)));
    },

    async identify(options) {
      const answer = await rig.signIn(options);
      const last = completed.at(-1);
      if (answer.status !== 200 || !last) {
        throw new Error(`not signed in: ${answer.status} ${answer.body.slice(0, 600)}\n${lines.slice(-3).join('')}`);
      }
      return last.identity;
    },

    logged: () => lines.join(''),

    async close() {
      for (const visitor of visitors) await visitor.close();
      connector.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await audit.close();
      if (!shared) await db.close();
      await rm(directory, { recursive: true, force: true });
      await dispatcher.close();
      const found = secretsIn(lines.join(''));
      // A UPN or an e-mail address, of whomever.
      if (/[\w.+-]+@[\w-]+\.example/.test(lines.join(''))) found.push('an e-mail address');
      if (found.length > 0) throw new Error(`the log shows ${found.join(', ')}`);
    },
  };
  return rig;
}

async function listen(app: Koa): Promise<Server> {
  const server = createServer(app.callback());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
