// A whole server that signs people in with the simulated Entra. Its configuration is that of production; only the
// sockets lead elsewhere.

import { Agent } from 'undici';
import type { EntraSim, Whom } from '../../entra-sim/index.ts';
import { startEntraSim } from '../../entra-sim/index.ts';
import { createVisitor, type Visitor } from '../entra-sim/visitor.ts';
import { noteSecret } from './secrets.ts';
import { declared, startSignet, type TestServer } from './signet.ts';
import {
  type Answer,
  type AuthorizationRequest,
  asClient,
  authorizationRequest,
  redemption,
  type TokenAnswer,
  tokenRequest,
  UserAgent,
} from './user-agent.ts';

export interface EntraWorld {
  sim: EntraSim;
  server: TestServer;
  /** A browser that has gone from an application to our sign-in page, or wherever that led. */
  arrive(parameters?: Record<string, string | undefined>, agent?: UserAgent): Promise<Arrival>;
  /** From a URL at Microsoft to where the browser is after Microsoft has sent `whom` back. */
  passMicrosoft(agent: UserAgent, url: string, whom: Whom, session?: Visitor): Promise<Answer>;
  /** The whole way, by Microsoft's button; the answer of the token endpoint. */
  signIn(whom: Whom, options?: SignInOptions): Promise<SignedIn>;
  refresh(token: string, clientId?: string): Promise<TokenAnswer>;
  /** A browser session at Microsoft. */
  session(): Visitor;
  close(): Promise<void>;
}

interface Arrival {
  agent: UserAgent;
  page: Answer;
  request: AuthorizationRequest;
}

interface SignInOptions {
  parameters?: Record<string, string | undefined>;
  agent?: UserAgent;
  session?: Visitor;
}

interface SignedIn extends Arrival {
  tokens: Record<string, any>;
}

interface EntraWorldOptions {
  /** Goes over a plain entra section. */
  entra?: Record<string, unknown>;
  values?: Record<string, unknown>;
  sim?: EntraSim;
  database?: string;
  /** Another server's, to share its keys. */
  directory?: string;
}

export async function startEntraWorld(options: EntraWorldOptions = {}): Promise<EntraWorld> {
  const sim = options.sim ?? (await startEntraSim());
  noteSecret('client secret', sim.app.secret);
  const dispatcher = new Agent({ connect: sim.connector() });
  const server = await startSignet({
    database: options.database,
    directory: options.directory,
    parts: { dispatcher },
    values: {
      ...declared,
      entra: {
        tenant: sim.app.home.id,
        clientId: sim.app.clientId,
        clientSecret: sim.app.secret,
        ...options.entra,
      },
      ...options.values,
    },
  });
  const callback = `${server.issuer}/sign-in/entra/callback`;
  sim.app.addRedirectUri(callback, `${server.issuer}/sign-in/entra/signed-out`);
  sim.app.frontChannelLogoutUrl = `${server.issuer}/sign-in/entra/frontchannel-logout`;
  sim.app.claims('email', 'xms_edov', 'login_hint', 'sid', 'acct', 'given_name', 'family_name');
  const visitors: Visitor[] = [];

  const world: EntraWorld = {
    sim,
    server,

    session() {
      const visitor = createVisitor(sim);
      visitors.push(visitor);
      return visitor;
    },

    async arrive(parameters = {}, agent = new UserAgent(server.issuer)) {
      const request = authorizationRequest(server.issuer, parameters);
      return { agent, request, page: await agent.visit(request.url) };
    },

    async passMicrosoft(agent, url, whom, session = world.session()) {
      sim.signInAs(whom);
      const given = await session.callback(url);
      noteSecret('upstream code', given.get('code'));
      noteSecret('upstream state', given.get('state'));
      const isPosted = new URL(url).searchParams.get('response_mode') === 'form_post';
      if (!isPosted) return agent.visit(`${callback}?${given}`);
      return agent.visit(callback, { form: Object.fromEntries(given), headers: { 'Sec-Fetch-Site': 'cross-site' } });
    },

    async signIn(whom, { parameters = {}, agent, session } = {}) {
      const arrival = await world.arrive(parameters, agent);
      const left = await arrival.agent.visit(buttonOn(arrival.page));
      let page = await world.passMicrosoft(arrival.agent, left.url, whom, session);
      if (page.body.includes('name="decision"')) page = await arrival.agent.submit(page, { decision: 'allow' });
      const code = new URL(page.url).searchParams.get('code');
      if (!code) throw new Error(`no code: ${page.status} ${page.url} ${page.body.slice(0, 2000)}`);
      const clientId = parameters.client_id ?? 'spa';
      const { status, body } = await tokenRequest(
        server.issuer,
        redemption(arrival.request, code, parameters.redirect_uri),
        asClient(clientId),
      );
      if (status !== 200) throw new Error(`token request: ${status} ${JSON.stringify(body)}`);
      return { ...arrival, page, tokens: body };
    },

    refresh: (token, clientId = 'spa') =>
      tokenRequest(server.issuer, { grant_type: 'refresh_token', refresh_token: token }, asClient(clientId)),

    async close() {
      for (const visitor of visitors) await visitor.close();
      await server.close();
      // A UPN or an e-mail address, of whomever: Microsoft's sentences name people, and are not repeated.
      const addresses = server.logged().match(/[\w.+-]+@[\w-]+\.(example|test|com)\b/g);
      if (addresses) throw new Error(`the log shows ${[...new Set(addresses)].join(', ')}`);
      await dispatcher.close();
      if (!options.sim) await sim.close();
    },
  };
  return world;
}

/** Where Microsoft's button leads. */
export function buttonOn({ body, url }: Answer): string {
  const href = /<a class="button quiet" href="([^"]*)"/.exec(body)?.[1];
  if (!href) throw new Error(`no Microsoft button on ${url}: ${body.slice(0, 2000)}`);
  return href;
}
