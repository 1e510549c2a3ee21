// A simulated Entra ID and Microsoft Graph: startEntraSim() listens on a free port and hands out the controls.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { buildConnector } from 'undici';
import type { AppFields } from './applications.ts';
import { App } from './applications.ts';
import type { CallbackDoctoring } from './callback.ts';
import { loadCertificates, publicKeyPin } from './certificates.ts';
import type { Clock } from './clock.ts';
import { createClock } from './clock.ts';
import { chromiumArguments, createConnector } from './connector.ts';
import type { DiscoveryDoctoring } from './discovery.ts';
import type { Endpoint } from './exchange.ts';
import type { Fault, FaultTarget } from './faults.ts';
import { createFaults } from './faults.ts';
import type { GraphSettings } from './graph.ts';
import { graphDefaults } from './graph.ts';
import type { IdTokenDoctoring } from './id-token.ts';
import type { Keys } from './keys.ts';
import { createKeys } from './keys.ts';
import type { FrontChannelAnswer, FrontChannelSid } from './logout.ts';
import { callFrontChannel, frontChannelUrl } from './logout.ts';
import type { Proxy, ProxyOptions } from './proxy.ts';
import { startProxy } from './proxy.ts';
import type { LoggedRequest, RequestLog } from './requests.ts';
import { createRequestLog } from './requests.ts';
import { createRules } from './rules.ts';
import type { TlsMode } from './server.ts';
import { listen } from './server.ts';
import type { Habits, Lifetimes, Session, SignInHints, Simulation } from './simulation.ts';
import { entraHabits, entraLifetimes } from './simulation.ts';
import type { Tenant, TenantFields } from './tenants.ts';
import type { TokenResponseDoctoring } from './token.ts';
import type { User } from './users.ts';
import { createWorld } from './world.ts';

export { aadstsTable } from './aadsts.ts';
export { graphFaults } from './faults.ts';
export { hostileIdTokens } from './hostile-id-tokens.ts';
export { attackerHost, clouds } from './hosts.ts';
export { consumersTenantId } from './tenants.ts';
export type {
  App,
  CallbackDoctoring,
  DiscoveryDoctoring,
  Endpoint,
  Fault,
  FaultTarget,
  IdTokenDoctoring,
  LoggedRequest,
  Session,
  Tenant,
  TlsMode,
  TokenResponseDoctoring,
  User,
};

interface EntraSimOptions {
  /** Default 0: any free port. */
  port?: number;
  /** Where certificates and keys are kept between simulations. Default: the test run's directory, else a new one. */
  directory?: string;
  /** The application that is registered at the start. */
  app?: AppFields;
}

interface FrontChannelOptions {
  /** Default 'with'. */
  sid?: FrontChannelSid;
  app?: App;
  /** PEM of the root that the application's server is to be checked against. */
  ca?: string;
}

/** A person, by name ('alice', 'fabrikam/mallory') or in person. */
export type Whom = User | string;

export interface EntraSim {
  readonly port: number;
  /** PEM of the root that signed the good certificates. */
  readonly ca: string;
  readonly clock: Clock;
  readonly keys: Keys;
  /** The application registered at the start; its home is contoso. */
  readonly app: App;
  readonly log: RequestLog;
  readonly graph: GraphSettings;
  readonly lifetimes: Lifetimes;
  readonly habits: Habits;
  readonly sessions: readonly Session[];

  /** For `new Agent({ connect: sim.connector() })`: Microsoft's host names lead here, nothing leaves this machine. */
  connector(): buildConnector.connector;
  /** For a browser: the same by resolver rules and the pin of our key. */
  chromiumArgs(): string[];
  /** An HTTP proxy that leads Microsoft's host names here: for a product's proxy option. close() ends it too. */
  startProxy(options?: ProxyOptions): Promise<Proxy>;

  tenant(key: string): Tenant;
  addTenant(key: string, fields?: TenantFields): Tenant;
  addApp(home: Tenant, fields?: AppFields): App;
  user(name: string): User;
  /** How long the account picker's "MFA takes long" takes. Default 125 seconds: past two minutes. */
  longMfa(seconds: number): void;
  /**
   * Whoever comes to /authorize is this person, without a page; a function decides by the request's hints, so that many
   * may sign in at once; null brings the account picker back.
   */
  signInAs(user: Whom | ((asked: SignInHints) => Whom) | null): void;

  /** Makes requests fail; returns how to withdraw the fault. The newest matching fault wins. */
  fault(target: FaultTarget, fault: Fault): () => void;
  nextIdToken(doctoring: IdTokenDoctoring): () => void;
  nextTokenResponse(doctoring: TokenResponseDoctoring): () => void;
  nextCallback(doctoring: CallbackDoctoring): () => void;
  /** Bends the OpenID configuration until withdrawn. */
  discovery(doctoring: DiscoveryDoctoring): () => void;
  tls(mode: TlsMode, host?: string): Promise<void>;
  /** Ends a refresh token (AADSTS50173); without one: all there are. */
  revokeRefreshToken(token?: string): void;

  requests(endpoint?: Endpoint): readonly LoggedRequest[];
  /** Calls the application's front-channel logout URL for the newest session of `user`. */
  frontChannelLogout(user: Whom, options?: FrontChannelOptions): Promise<FrontChannelAnswer>;

  /**
   * Withdraws all faults and doctorings, restores keys, TLS, clock, Graph and habits, ends all sessions, codes and
   * tokens, and empties the log. Tenants, people and applications stay as they are.
   */
  reset(): Promise<void>;
  /** Refuses connections until restart(). */
  stop(): Promise<void>;
  restart(): Promise<void>;
  /** Ends it. Rejects if the simulator itself failed meanwhile. */
  close(): Promise<void>;
}

const nobody = () => undefined;
const always = (user: User) => () => user;

export async function startEntraSim({ port = 0, directory, app: appFields }: EntraSimOptions = {}): Promise<EntraSim> {
  const shared = directory ?? process.env.SIGNET_TEST_DIRECTORY;
  const home = shared ?? (await mkdtemp(join(tmpdir(), 'entra-sim-')));
  const certificates = await loadCertificates(join(home, 'entra-sim-certificates'));
  const clock = createClock();
  const { directory: tenants, app } = createWorld(clock, appFields);
  const sim: Simulation = {
    clock,
    directory: tenants,
    keys: createKeys(certificates.signing),
    apps: [app],
    log: createRequestLog(),
    lifetimes: { ...entraLifetimes },
    habits: { ...entraHabits },
    graph: { ...graphDefaults },
    faults: createFaults(),
    idTokens: createRules(1),
    tokenResponses: createRules(1),
    callbacks: createRules(1),
    discoveries: createRules(Infinity),
    sessions: new Map(),
    codes: new Map(),
    refreshTokens: new Map(),
    accessTokens: new Map(),
    waiting: new Map(),
    pick: nobody,
    longMfaSeconds: 125,
  };
  const listener = await listen(sim, certificates, port);
  const { ca } = certificates;
  const at = { ca, port: listener.port, pin: publicKeyPin(certificates.tls.good.certificate) };
  const proxies: Proxy[] = [];
  const userOf = (user: Whom) => (typeof user === 'string' ? tenants.user(user) : user);

  return {
    port: at.port,
    ca,
    clock,
    keys: sim.keys,
    app,
    log: sim.log,
    graph: sim.graph,
    lifetimes: sim.lifetimes,
    habits: sim.habits,
    get sessions() {
      return [...sim.sessions.values()];
    },

    connector: () => createConnector(at),
    chromiumArgs: () => chromiumArguments(at),
    async startProxy(options) {
      const proxy = await startProxy(at.port, options);
      proxies.push(proxy);
      return proxy;
    },

    tenant: (key) => tenants.tenant(key),
    addTenant: (key, fields) => tenants.add(key, fields),
    addApp(homeTenant, fields) {
      const added = new App(clock, homeTenant, fields);
      sim.apps.push(added);
      return added;
    },
    user: (name) => tenants.user(name),
    signInAs(user) {
      if (user === null) sim.pick = nobody;
      else if (typeof user === 'function') sim.pick = (asked) => userOf(user(asked));
      else sim.pick = always(userOf(user));
    },

    longMfa(seconds) {
      sim.longMfaSeconds = seconds;
    },

    fault: (target, fault) => sim.faults.add(target, fault),
    nextIdToken: (doctoring) => sim.idTokens.add(doctoring),
    nextTokenResponse: (doctoring) => sim.tokenResponses.add(doctoring),
    nextCallback: (doctoring) => sim.callbacks.add(doctoring),
    discovery: (doctoring) => sim.discoveries.add(doctoring),
    tls: (mode, host) => listener.tls(mode, host),
    revokeRefreshToken(token) {
      for (const [value, grant] of sim.refreshTokens) if (token === undefined || value === token) grant.revoked = true;
    },

    requests: (endpoint) => sim.log.all(endpoint),
    async frontChannelLogout(user, { sid = 'with', app: called = app, ca: theirCa } = {}) {
      const session = [...sim.sessions.values()].findLast((each) => each.user === userOf(user));
      if (session === undefined) throw new Error(`${userOf(user).key} has no session at the simulator`);
      return callFrontChannel(frontChannelUrl(called, session.sid, sid), theirCa);
    },

    async reset() {
      for (const rules of [sim.faults, sim.idTokens, sim.tokenResponses, sim.callbacks, sim.discoveries]) rules.clear();
      for (const issued of [sim.sessions, sim.codes, sim.refreshTokens, sim.accessTokens, sim.waiting]) issued.clear();
      sim.pick = nobody;
      sim.keys.reset();
      clock.skew(0);
      Object.assign(sim.graph, graphDefaults);
      Object.assign(sim.lifetimes, entraLifetimes);
      Object.assign(sim.habits, entraHabits);
      sim.log.clear();
      await listener.tls('good');
    },
    stop: () => listener.stop(),
    restart: () => listener.restart(),
    async close() {
      for (const proxy of proxies) await proxy.close();
      if (shared === undefined) await rm(home, { recursive: true, force: true });
      await listener.close();
    },
  };
}
