// The one schema of signet.yaml and the SIGNET_* environment: types, defaults and checks. The JSON Schema for editors and
// the table in docs/configuration.md are made of it (settings.ts). It does no input or output: config.ts reads the files.

import { z } from 'zod';
import { type ApiConfig, administrationApi, api, application } from './applications.ts';
import { entra } from './entra.ts';
import {
  accessTokenLife,
  count,
  day,
  duration,
  hour,
  isSound,
  issue,
  line,
  minute,
  pattern,
  secret,
  text,
  urlWithPassword,
  when,
  year,
} from './fields.ts';
import { hasTimeToPublish, propagationTime } from './key-times.ts';
import {
  databaseUrlRule,
  formatDuration,
  isLoopbackHost,
  issuerRule,
  masterKeyRule,
  networkRule,
  redisUrlRule,
} from './rules.ts';

// A connection to PostgreSQL costs it some megabytes, and each worker has up to eleven.
const mostWorkers = 64;

const listen = z.strictObject({
  host: z
    .string()
    .min(1)
    .optional()
    .describe('Address to listen on. Default: 127.0.0.1 where the issuer is a loopback host, otherwise 0.0.0.0.'),
  port: count(0, 65_535).default(3000).describe('TCP port to listen on.'),
  requestTimeout: duration(
    1,
    10 * minute,
    'How long a request may take to arrive whole; then its connection is closed.',
  ).prefault('30s'),
  maxConnections: count(10, 1_000_000)
    .default(5000)
    .describe('Connections at once; those beyond are closed unanswered.'),
  maxConnectionsPerAddress: count(10, 1_000_000)
    .default(500)
    .describe('How many of them from one address (of IPv6: one /48). Loopback and proxy.trusted are not counted.'),
  drainDelay: duration(
    0,
    10 * minute,
    'How long a server that was told to stop goes on taking connections, while ' +
      '/health/ready says no. Default: 3s, or none where the issuer is a loopback host. Longer where whoever hands ' +
      'requests on looks less often.',
  ).optional(),
});

const workers = z
  .union([z.literal('auto'), count(1, mostWorkers)], {
    error: `must be auto, or a whole number from 1 to ${mostWorkers}`,
  })
  .default(1)
  .describe(
    'Processes that serve behind the one port: a number, or auto, which is one for each core. One is enough for most: ' +
      'it makes its signatures on all cores. Each further one needs as much memory and as many connections to ' +
      'PostgreSQL again; on SQLite all write to one file. docs/operations.md has figures.',
  );

const database = z.strictObject({
  url: text(databaseUrlRule)
    .default('sqlite:data/signet.db')
    .meta(urlWithPassword)
    .describe('Where everything is stored: sqlite:<file>, or postgres://user:password@host/database.'),
});

const keys = z
  .strictObject({
    masterKeyFile: z
      .string()
      .min(1)
      .default('keys/master.key')
      .describe('File with the master key that seals the signing keys at rest; made at the first start.'),
    masterKey: text(masterKeyRule)
      .optional()
      .meta(secret)
      .describe('The master key itself, instead of the file: 32 bytes in base64, base64url or hex.'),
    previousMasterKeyFile: z
      .string()
      .min(1)
      .optional()
      .describe('File with the master key used before, while signing keys are being sealed anew.'),
    modulusLength: z.literal([2048, 3072, 4096]).default(2048).describe('Bits of a new RSA signing key.'),
    rotateEvery: duration(hour, 2 * year, 'How long one key signs before the next takes over.').prefault('90d'),
    publishAhead: duration(
      1,
      90 * day,
      'How long a new key is published at least before it signs, emergencies apart. ' +
        'No less than jwksMaxAge + pollEvery + clockSkew; the default has room for a verifier that caches for 24 hours.',
    ).prefault('25h'),
    // Our verifier asks no more often (verifier/keys.ts), so less would be promised and not kept.
    jwksMaxAge: duration(30, day, 'How long verifiers may cache the JWKS (Cache-Control: max-age).').prefault('5m'),
    pollEvery: duration(1, hour, 'How often a server looks for changes that another process made.').prefault('10s'),
    clockSkew: duration(0, hour, 'How far the clocks of servers and verifiers may be apart.').prefault('60s'),
    promote: z
      .enum(['on-time', 'when-seen'])
      .default('on-time')
      .describe('When a published key starts to sign: at its time, or not before verifiers were seen to fetch it.'),
    promoteTimeLimit: duration(
      minute,
      year,
      'With when-seen, how long past its time a key waits and then signs.',
    ).prefault('7d'),
    jwksClientNetworks: z
      .array(text(networkRule))
      .default([])
      .describe(
        'Addresses or networks of your services that fetch the JWKS. With when-seen a key waits for those that ' +
          'come from there, and for nobody else: a stranger can claim any name.',
      ),
  })
  .superRefine(
    ({ publishAhead, jwksMaxAge, pollEvery, clockSkew }, ctx) => {
      const needed = propagationTime({ jwksMaxAge, pollEvery, clockSkew });
      if (publishAhead >= needed) return;
      const sum = `${jwksMaxAge} + ${pollEvery} + ${clockSkew} = ${needed} s`;
      ctx.addIssue(
        issue(
          ['publishAhead'],
          `is ${publishAhead} s, but jwksMaxAge + pollEvery + clockSkew = ${sum}: ` +
            `a verifier would meet tokens of a key that it cannot know yet; raise it to at least ${formatDuration(needed)}`,
        ),
      );
    },
    when('publishAhead', 'jwksMaxAge', 'pollEvery', 'clockSkew'),
  )
  .superRefine(
    ({ promote, jwksClientNetworks }, ctx) => {
      if (promote === 'on-time' || jwksClientNetworks.length > 0) return;
      ctx.addIssue(
        issue(
          ['promote'],
          'is when-seen, but keys.jwksClientNetworks names nobody to wait for: what strangers ' +
            'say of themselves must not hold up a rotation. Name the networks of your services there, or use on-time',
        ),
      );
    },
    when('promote', 'jwksClientNetworks'),
  )
  .superRefine(
    ({ rotateEvery, publishAhead }, ctx) => {
      if (hasTimeToPublish({ rotateEvery, publishAhead })) return;
      ctx.addIssue(
        issue(
          ['rotateEvery'],
          `is ${rotateEvery} s, not longer than publishAhead (${publishAhead} s), but ` +
            'the next key is published while the present one signs',
        ),
      );
    },
    when('rotateEvery', 'publishAhead'),
  );

const tokens = z.strictObject({
  accessTokenLife: accessTokenLife('Life of access tokens where API and application say nothing.').prefault('30m'),
  idTokenLife: duration(minute, day, 'Life of an ID token.').prefault('30m'),
  refreshTokenLife: duration(minute, year, 'Life of a refresh token; each use starts it anew.').prefault('14d'),
  refreshTokenFormat: z
    .enum(['jwt', 'opaque'])
    .default('jwt')
    .describe('jwt: signed, so that a forged or expired one is refused without a query. opaque: a bare handle.'),
  refreshGrace: duration(
    0,
    minute,
    'How long a client that repeats a refresh gets the same answer again; 0 is off.',
  ).prefault('30s'),
  refreshSpacing: duration(
    0,
    minute,
    'After ten refreshes in a row, how long the newest answer stands in for another ' +
      'one, with an access token that lives for twelve times as long or more; 0 is off.',
  ).prefault('5s'),
  authorizationCodeLife: duration(
    10,
    10 * minute,
    'Life of an authorization code (RFC 6749 §4.1.2). ' + 'Longer than keys.clockSkew.',
  ).prefault('2m'),
});

const revocation = z.strictObject({
  ttl: duration(
    1,
    hour,
    'How long verifiers may keep a status list, and so how soon they refuse what was revoked.',
  ).prefault('15s'),
  redisUrl: text(redisUrlRule)
    .optional()
    .meta(urlWithPassword)
    .describe(
      'A Redis server that is told of each revocation at once: redis://user:password@host:6379, or ' +
        'rediss://. Also SIGNET_REDIS_URL.',
    ),
});

const session = z.strictObject({
  life: duration(
    minute,
    year,
    'How long a sign-in at the issuer lasts, however it is used meanwhile. ' +
      'Then the person signs in again, and what applications have of them for that session ends.',
  ).prefault('14d'),
});

const passwords = z.strictObject({
  bcryptCost: count(4, 15)
    .default(12)
    .describe('Work factor of password hashes; less than 10 only where the issuer is a loopback host.'),
  // bcrypt reads 72 bytes and no more.
  minLength: count(8, 72).default(12).describe('Shortest password that a person may choose, in characters.'),
});

const branding = z.strictObject({
  name: line(60).default('Signet').describe('Name shown on the pages that people see.'),
  logoFile: z.string().min(1).optional().describe('Logo shown on those pages: an .svg or .png file of at most 100 kB.'),
  color: pattern(/^#[0-9a-f]{6}$/i, 'must be a colour in quotes, such as "#1f5eff"')
    .default('#1f5eff')
    .describe('Colour of buttons and links, as #rrggbb.'),
});

const proxy = z.strictObject({
  trusted: z
    .array(text(networkRule))
    .default([])
    .describe('Addresses or networks of reverse proxies whose X-Forwarded-For is believed.'),
});

const log = z.strictObject({
  level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info').describe('Least serious lines to write.'),
});

const metrics = z.strictObject({
  listen: z
    .strictObject({
      host: z
        .string()
        .min(1)
        .default('127.0.0.1')
        .describe('Address to serve /metrics on. Whoever reaches it may read it.'),
      port: count(0, 65_535).optional().describe('TCP port to serve /metrics on. Without one, there are no metrics.'),
    })
    .prefault({})
    .describe('Where they are served: never where people and applications are.'),
});

const audit = z.strictObject({
  activityRetention: duration(
    day,
    10 * year,
    'How long everyday events (sign-ins, refusals) are kept; those of administrators and keys stay.',
  ).prefault('90d'),
  tokenRetention: duration(
    day,
    10 * year,
    'How long it is kept that tokens were issued: an event for each token request. Never longer than activityRetention.',
  ).prefault('7d'),
});

export const settings = z
  .strictObject({
    issuer: text(issuerRule)
      .optional()
      .describe('Public URL of this server, without trailing slash; becomes "iss". Default: localhost, listen.port.'),
    listen: listen.prefault({}).describe('Where the server listens.'),
    workers,
    database: database.prefault({}).describe('Where everything is stored.'),
    keys: keys.prefault({}).describe('Signing keys and their rotation.'),
    tokens: tokens.prefault({}).describe('Lives and formats of tokens.'),
    revocation: revocation.prefault({}).describe('What becomes of tokens that are revoked before they expire.'),
    session: session.prefault({}).describe('The sign-in that several applications share.'),
    passwords: passwords.prefault({}).describe('Local accounts.'),
    branding: branding.prefault({}).describe('How the pages look.'),
    proxy: proxy.prefault({}).describe('Reverse proxies in front of the server.'),
    log: log.prefault({}).describe('The log on standard error.'),
    metrics: metrics.prefault({}).describe('Figures for Prometheus.'),
    audit: audit.prefault({}).describe('The record of who did what.'),
    entra: entra.optional().describe('Sign-in with Microsoft Entra ID. Without this section there is none.'),
    applications: z.array(application).default([]).describe('Applications (clients); these are read-only elsewhere.'),
    apis: z.array(api).default([]).describe('APIs (resource servers) that access tokens are for.'),
  })
  .superRefine(
    (config, ctx) => {
      if (config.issuer !== undefined || config.listen.port !== 0) return;
      ctx.addIssue(issue(['issuer'], 'is missing: with listen.port 0 the URL cannot be known beforehand'));
    },
    when('issuer', 'listen'),
  )
  .superRefine(
    ({ listen, metrics }, ctx) => {
      if (listen.port === 0 || metrics.listen.port !== listen.port) return;
      ctx.addIssue(issue(['metrics', 'listen', 'port'], 'is listen.port; metrics need a port of their own'));
    },
    when('listen', 'metrics'),
  )
  .superRefine(
    ({ keys, tokens }, ctx) => {
      // Made by a server whose clock is slow, a code would be past its end for the others before anybody could redeem it.
      if (tokens.authorizationCodeLife > keys.clockSkew) return;
      ctx.addIssue(
        issue(
          ['tokens', 'authorizationCodeLife'],
          `is ${tokens.authorizationCodeLife} s, not longer than ` +
            `keys.clockSkew (${keys.clockSkew} s): a code of a server whose clock is slow by as much lives ` +
            `${tokens.authorizationCodeLife} - ${keys.clockSkew} = ${tokens.authorizationCodeLife - keys.clockSkew} s ` +
            'at another one',
        ),
      );
    },
    when('keys', 'tokens'),
  )
  .superRefine(
    (config, ctx) => {
      if (config.passwords.bcryptCost >= 10 || isLoopbackHost(new URL(issuerOf(config)).hostname)) return;
      ctx.addIssue(issue(['passwords', 'bcryptCost'], 'must be at least 10; less is for a loopback issuer only'));
    },
    when('issuer', 'listen', 'passwords'),
  )
  .superRefine(({ applications }, ctx) => {
    for (const index of repeated(applications.map((app) => app.clientId))) {
      ctx.addIssue(issue(['applications', index, 'clientId'], 'is used by an application above'));
    }
  }, whenList('applications'))
  .superRefine((config, ctx) => {
    for (const index of repeated(config.apis.map((one) => one.audience))) {
      ctx.addIssue(issue(['apis', index, 'audience'], 'is used by an API above'));
    }
  }, whenList('apis'))
  .superRefine(
    (config, ctx) => {
      // The issuer is the audience of its own refresh tokens; an access token must never be mistaken for one.
      const issuer = issuerOf(config);
      const builtIn = administrationApi(issuer);
      for (const [index, { audience }] of config.apis.entries()) {
        const path = ['apis', index, 'audience'];
        if (audience === issuer) ctx.addIssue(issue(path, 'must not be the issuer itself'));
        if (audience !== builtIn.audience) continue;
        ctx.addIssue(issue(path, `is ${builtIn.name}, which is always there; remove it`));
      }
    },
    { when: (payload) => whenList('apis').when(payload) && when('issuer', 'listen').when(payload) },
  )
  .superRefine(
    (config, ctx) => {
      const { applications, apis } = config;
      const all: ApiConfig[] = [...apis, administrationApi(issuerOf(config))];
      const scopesOf = new Map(all.map((one) => [one.audience, one.scopes]));
      for (const [index, app] of applications.entries()) {
        const introspects = isSound(ctx, ['applications', index, 'introspects']) ? app.introspects : undefined;
        for (const [at, audience] of (introspects ?? []).entries()) {
          if (scopesOf.has(audience)) continue;
          const path = ['applications', index, 'introspects', at];
          ctx.addIssue(issue(path, 'names an audience that no entry of apis declares'));
        }
        if (!isSound(ctx, ['applications', index, 'access'])) continue;
        for (const [audience, wanted] of Object.entries(app.access)) {
          const path = ['applications', index, 'access', audience];
          const scopes = scopesOf.get(audience);
          if (!scopes) ctx.addIssue(issue(path, 'names an audience that no entry of apis declares'));
          for (const scope of scopes ? wanted : []) {
            if (Object.hasOwn(scopes ?? {}, scope)) continue;
            ctx.addIssue(issue(path, `asks for scope ${scope}, which that API does not declare`));
          }
        }
      }
    },
    { when: (payload) => whenList('applications').when(payload) && when('apis', 'issuer', 'listen').when(payload) },
  );

export type ParsedSettings = z.output<typeof settings>;

/** The issuer, configured or by default. */
export function issuerOf(config: Pick<ParsedSettings, 'issuer' | 'listen'>): string {
  return config.issuer ?? `http://localhost:${config.listen.port}`;
}

// An entry with a problem of its own does not keep the others from being compared; an entry that is no object does.
function whenList(field: string) {
  return {
    when: ({ issues }: z.core.ParsePayload) =>
      !issues.some(
        ({ code, path = [] }) =>
          code === 'invalid_type' && (path.length === 0 || (path[0] === field && path.length < 3)),
      ),
  };
}

/** Positions of the values that an earlier position already has. */
function repeated(values: readonly unknown[]): number[] {
  return [...values.keys()].filter((at) => typeof values[at] === 'string' && values.indexOf(values[at]) < at);
}
