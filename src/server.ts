// The composition root: store → keys → issuer → routes → listen. Everything of a running server is wired here and nowhere
// else; what a command needs as well is store.ts.

import type { Dispatcher } from 'undici';
import { adminApi } from './admin/api.ts';
import { createAuthorizer } from './admin/authorize.ts';
import { startLogoutDelivery } from './backchannel-logout/delivery.ts';
import { disabledAmong } from './clients/disabled.ts';
import { administrationApi, type Config, configWarnings } from './config/config.ts';
import { markFile, startContinuity } from './database/continuity.ts';
import type { RoomLimits } from './database/row-limits.ts';
import { startRuns } from './database/runs.ts';
import { databaseBytes } from './database/size.ts';
import { startSweeper } from './database/sweep.ts';
import { openEntra } from './entra/index.ts';
import { grantLifeSeconds } from './grants/grants.ts';
import { createCompleteSignIn } from './issuer/complete-sign-in.ts';
import { tokenEndpoints } from './issuer/endpoints/token-endpoints.ts';
import { createIssuer } from './issuer/issuer.ts';
import { answerErrors, createProviderPages } from './issuer/pages.ts';
import { createReturnLinks } from './issuer/return-links.ts';
import { describeJwksClient } from './keys/jwks-clients.ts';
import { tolerableOffsetMs } from './keys/policy.ts';
import { startRotation } from './keys/rotation.ts';
import type { generateKey } from './keys/signer.ts';
import type { Log } from './log.ts';
import { createCounts } from './metrics/counts.ts';
import type { Metric } from './metrics/exposition.ts';
import { gauges } from './metrics/gauges.ts';
import { serveMetrics } from './metrics/serve.ts';
import { createDevices } from './signin/device.ts';
import { createFirstAdministrator } from './signin/first-administrator.ts';
import { createLoginThrottle } from './signin/login-throttle.ts';
import type { QueueLimits } from './signin/password-queue.ts';
import { signInRoutes } from './signin/routes.ts';
import { subscribeToRevocations } from './status-list/lists.ts';
import { isRevoked } from './status-list/revoked.ts';
import { statusListDocuments, statusListRoutes } from './status-list/routes.ts';
import { createClosers, openStore } from './store.ts';
import { version } from './verifier/version.ts';
import { addressPrefix, rememberingAddresses, withinNetworks } from './web/address.ts';
import { createApp } from './web/app.ts';
import { watchArrivals } from './web/arrivals.ts';
import { createLimitedServer } from './web/connections.ts';
import { createDrain } from './web/drain.ts';
import { formAsGet } from './web/form-as-get.ts';
import { createFront } from './web/front.ts';
import { listen, stopListening, urlOf } from './web/listen.ts';
import { createPages } from './web/pages.ts';
import { requestOf } from './web/request.ts';
import { createSecretThrottle } from './web/secret-throttle.ts';

const oneMinuteMs = 60_000;

export interface RunningServer {
  /** Where it listens: http://host:port, which behind a proxy is not the issuer. */
  url: string;
  /** Where its metrics are, where they are configured: http://host:port. */
  metricsUrl?: string;
  /** Made at the first start, and told this once. */
  firstAdministrator?: { email: string; oneTimePassword: string };
  /** Tells whoever hands requests on, and whoever keeps a connection, to go elsewhere; then takes no more. */
  drain(): Promise<void>;
  /** Its metrics, where it is one of several workers and they are configured. */
  figures?: (() => Promise<Metric[]>) | undefined;
  /** Finishes what is under way, then closes everything. */
  close(): Promise<void>;
}

export interface ServerParts {
  /** Makes the connections to Microsoft, instead of this process's own network. */
  dispatcher?: Dispatcher;
  /** Milliseconds between two looks for expired rows. Default: a minute. */
  sweepEveryMs?: number;
  /** How many rows of a kind strangers may have. Default: see database/row-limits.ts. */
  room?: Partial<RoomLimits>;
  /** How many may wait for bcrypt. Default: see signin/password.ts. */
  passwordQueue?: QueueLimits;
  /** Makes the signing keys. Default: see keys/signer.ts. */
  makeKey?: typeof generateKey;
  /** Milliseconds between two words that this server lives, and two looks at what the database remembers. Default: 5 s. */
  aliveEveryMs?: number | undefined;
  /**
   * How many processes serve this port. Of several each has its share of what is bounded for the server, and hands out
   * its metrics instead of serving them. Default 1.
   */
  workers?: number;
  /** Without the short way of the token endpoint (issuer/token-endpoint/). */
  tokenEndpoint?: 'oidc-provider' | undefined;
  /** Aborted before the server listens: the start fails with its reason, once what was opened is closed. */
  stopping?: AbortSignal | undefined;
}

export async function startServer(config: Config, log: Log, parts: ServerParts = {}): Promise<RunningServer> {
  const { dispatcher, sweepEveryMs = oneMinuteMs, room, aliveEveryMs: everyMs } = parts;
  const { stopping, passwordQueue, makeKey, tokenEndpoint, workers = 1 } = parts;
  const closers = createClosers();
  for (const warning of configWarnings(config)) log.warn('config.warning', { ...warning });
  try {
    const opened = await openStore(config, log, { outages: true, stopping, passwordQueue, makeKey, workers });
    closers.push(opened.close);
    for (const warning of await disabledAmong(config, opened.db)) log.warn('config.warning', { ...warning });
    const counts = config.metrics && createCounts();
    const store = counts ? { ...opened, audit: counts.counting(opened.audit) } : opened;
    const { db, clock, audit, accounts, clients, apis, keyring, jwksClients, policy, seal, passwords } = store;
    const { statusIndexes, revoked, ending, statusLists, logoutQueue, grants } = store;
    const { ttl, redisUrl } = config.revocation;
    const { now, exact: exactNow } = clock;
    // Before anything is handed out: an older copy of the database does not know what was handed out before.
    const continuity = await startContinuity({
      db,
      log,
      everyMs,
      file: markFile(config.keys),
      async setBack(tx, evidence) {
        await statusIndexes.beginAnew(tx);
        await audit.append(tx, { event: 'database.set_back', actor: 'server', detail: { ...evidence } });
      },
      async invalidate() {
        statusIndexes.invalidateAll();
        await statusLists.refresh();
      },
    });
    closers.push(continuity.stop);
    const runs = await startRuns(db, { clock, log, everyMs });
    closers.push(runs.stop);

    const pages = createPages({ branding: config.branding, issuer: config.issuer });
    const returnLinks = createReturnLinks({ issuer: config.issuer, seal, clients });
    const entra =
      config.entra &&
      (await openEntra(config.entra, {
        ...store,
        issuer: config.issuer,
        grantLife: grantLifeSeconds,
        log,
        dispatcher,
        room,
      }));
    if (entra) closers.push(entra.close);
    const providerPages = createProviderPages({
      log,
      pages,
      returnLinks,
      accounts,
      upstreamSignOut: entra?.upstreamSignOut,
    });
    const { audience } = administrationApi(config.issuer);
    const authorizer = createAuthorizer({
      issuer: config.issuer,
      audience,
      accounts,
      clients,
      isRevoked: (claims) => isRevoked(claims, revoked),
      now,
    });
    const secretThrottle = createSecretThrottle({ workers });
    const isJwksClient = withinNetworks(config.keys.jwksClientNetworks);
    const countedAddress = rememberingAddresses((address) =>
      isJwksClient(address) ? address : addressPrefix(address),
    );
    const rotation = await startRotation({
      keyring,
      db,
      policy,
      log,
      unseenBy: async (key) => (await jwksClients.readiness(key)).waitedFor.map(describeJwksClient),
    });
    closers.push(() => rotation.stop());
    let { active } = rotation.firstKeys;
    authorizer.useKeys(rotation.firstKeys);
    await statusLists.useKeys(rotation.firstKeys);
    const issuer = createIssuer(
      {
        config,
        db,
        accounts,
        clients,
        apis,
        audit,
        seal,
        log,
        now,
        exactNow,
        runs,
        pages: providerPages,
        ending,
        statusIndexes,
        statusLists,
        room,
        upstream: entra?.upstream,
        secretThrottle,
        tokenEndpoint,
        jwksServed: ({ address, ...fetch }) => jwksClients.seen({ ...fetch, address: countedAddress(address) }),
      },
      rotation.firstKeys,
    );
    closers.push(() => issuer.close());
    await rotation.run(async (keys) => {
      active = keys.active;
      authorizer.useKeys(keys);
      await statusLists.useKeys(keys);
      await issuer.useKeys(keys);
    });
    if (redisUrl) {
      const { openRedisDenylist } = await import('./status-list/redis-denylist.ts');
      const denylist = openRedisDenylist({ url: redisUrl, everything: () => revoked.list(0), log, now });
      closers.push(() => denylist.close());
      statusLists.onRead(denylist.add);
    }
    closers.push(await subscribeToRevocations(db, statusLists, ttl));
    const delivery = await startLogoutDelivery({
      issuer: config.issuer,
      queue: logoutQueue,
      clients,
      audit,
      log,
      signer: () => active,
      now,
    });
    closers.push(() => delivery.stop());
    closers.push(await clients.subscribe());
    const services = config.applications.filter(({ type }) => type === 'service');
    await statusIndexes.load(services.map(({ clientId }) => clientId));

    const throttle = createLoginThrottle(db, now);
    const devices = createDevices(seal, { issuer: config.issuer }, now);
    const sweeper = startSweeper({
      everyMs: sweepEveryMs,
      log,
      now: clock.exact,
      mayDelete: () => clock.health().isSteady,
      sweeps: [
        issuer.sweep,
        throttle.sweepExpired,
        audit.sweepExpired,
        jwksClients.sweep,
        revoked.sweep,
        statusIndexes.sweep,
        ...(entra?.sweeps ?? []),
      ],
    });
    closers.push(() => sweeper.stop());

    const drain = createDrain();
    const { trusted } = config.proxy;
    const app = createApp({
      issuer: config.issuer,
      trustedProxies: trusted,
      hasEntra: entra !== undefined,
      branding: config.branding,
      pages,
      answerErrors: answerErrors({ pages, returnLinks, audit, log }),
      homeLink: returnLinks.fromNowhere,
      health: {
        database: db.takesWrites,
        keys: () => rotation.health(),
        isStopping: drain.isUnderWay,
        clockAgrees: () => Math.abs(clock.health().offset) <= tolerableOffsetMs(config),
        entra: entra?.health,
      },
    });
    app.use(statusListRoutes(statusLists, ttl, now));
    const findStatusList = statusListDocuments({ lists: statusLists, issuer: config.issuer, ttl, now });
    app.use(
      tokenEndpoints({
        issuer: config.issuer,
        clients,
        revoked,
        grants,
        secretThrottle,
        audit,
        log,
        now,
        signer: () => active,
        lookUp: (token) => issuer.lookUp(token),
      }),
    );
    app.use(
      adminApi({
        authorizer,
        keys: store.keys,
        accounts,
        grants,
        audit,
        log,
        keysChanged: () => rotation.tick(),
        entraKeys: entra?.keys,
      }),
    );
    const complete = createCompleteSignIn(issuer, accounts, audit);
    if (entra) app.use(entra.signOutRoutes.routes());
    app.use(
      signInRoutes({
        issuerUrl: config.issuer,
        issuer: issuer,
        accounts,
        passwords,
        newPasswords: store.newPasswords,
        throttle,
        devices,
        pages,
        returnLinks,
        audit,
        seal,
        complete,
        minPasswordLength: config.passwords.minLength,
        entra: entra?.signIn,
      }).routes(),
    );
    app.use(formAsGet({ issuer: config.issuer, pages }));
    app.use((ctx) => {
      ctx.respond = false;
      return issuer.handle(ctx.req, ctx.res, requestOf(ctx));
    });

    const front = createFront({
      trustedProxies: trusted,
      token: (req, res, state) => issuer.handleToken(req, res, state),
      documents: [issuer.findDocument, findStatusList],
      everythingElse: app.callback(),
    });
    // A proxy on this machine is one that nobody had to name.
    const isProxy = withinNetworks([...trusted, '127.0.0.0/8', '::1']);
    const server = createLimitedServer(drain.around(front), { limits: config.listen, workers, isProxy, log });
    watchArrivals(server);
    const hint = 'Set listen.port or SIGNET_LISTEN_PORT to another one, and the issuer with it.';
    stopping?.throwIfAborted();
    await listen(server, config.listen, hint);
    closers.push(() => db.hurry());
    closers.push(() => stopListening(server));
    const figures =
      counts &&
      (async () => {
        const [keys, entraHealth] = [store.keys.status, entra?.health];
        const now = await gauges({
          version,
          database: db,
          keys,
          rotation: rotation.health,
          sweepLag: sweeper.lag,
          databaseBytes: () => databaseBytes(db),
          entra: entraHealth,
          log,
        });
        return [...now, ...counts.metrics()];
      });
    const metrics =
      config.metrics && figures && workers === 1 && (await serveMetrics(config.metrics.listen, figures, log));
    if (metrics) closers.push(metrics.close);
    // Last: a start that fails before this, for want of the port, must not have used up a password that nobody saw.
    const firstAdministrator = await createFirstAdministrator(store, config.issuer);
    return {
      url: urlOf(server),
      metricsUrl: metrics ? metrics.url : undefined,
      figures: workers === 1 ? undefined : figures,
      firstAdministrator,
      drain: () => drain.run(server, config.listen.drainDelay * 1000),
      close: closers.run,
    };
  } catch (error) {
    await closers.run();
    throw error;
  }
}
