// The one schema of signet.yaml and the SIGNET_* environment: types, defaults, checks, the JSON Schema for editors and
// the table in docs/configuration.md all come from here. It does no input or output: config.ts reads the files.

import { z } from 'zod';
import {
  audienceRule,
  clientIdRule,
  clientSecretRule,
  homeRule,
  logoutUriRule,
  originRule,
  redirectUriRule,
  schemeRule,
  serialisedOrigin,
} from './application-rules.ts';
import { entra } from './entra.ts';
import {
  accessTokenLife,
  count,
  day,
  duration,
  hour,
  issue,
  line,
  minute,
  pattern,
  secret,
  text,
  urlWithPassword,
  when,
  whenTyped,
  year,
} from './fields.ts';
import {
  databaseUrlRule,
  formatDuration,
  isLoopbackHost,
  issuerRule,
  masterKeyRule,
  networkRule,
  redisUrlRule,
} from './rules.ts';

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
      // A verifier that fetched the JWKS just before the key was published must have fetched it again before it signs.
      const needed = jwksMaxAge + pollEvery + clockSkew;
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
      if (rotateEvery > publishAhead) return;
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
    'How long everyday events (sign-ins, tokens) are kept; others stay.',
  ).prefault('90d'),
});

const redirectUris = () => z.array(text(redirectUriRule)).default([]);

export const application = z
  .strictObject({
    clientId: text(clientIdRule).describe('The client_id. Public, and never reused for another application.'),
    name: line(100).describe('Name that people see when they are asked for consent.'),
    type: z
      .enum(['spa', 'web', 'native', 'service'])
      .describe('spa: in the browser. web: a server with a secret. native: on a device. service: no person, a secret.'),
    secret: text(clientSecretRule)
      .optional()
      .meta(secret)
      .describe('The client secret in plain text; stored hashed. Prefer secretFile or secretSha256.'),
    secretFile: z.string().min(1).optional().describe('File with the client secret.'),
    secretSha256: pattern(/^[0-9a-f]{64}$/i, 'must be the SHA-256 of the secret, 64 hex digits')
      .optional()
      .meta(secret)
      .describe('SHA-256 of the client secret in hex, so that the file holds no secret.'),
    redirectUris: redirectUris().describe('Where people return after sign-in; compared exactly. Not for service.'),
    postLogoutRedirectUris: redirectUris().describe('Where people may return after sign-out.'),
    clientUri: text(homeRule)
      .optional()
      .describe(
        'Where people find it: the way on from pages that lead nowhere else, such as an error or a sign-out. ' +
          'Not for service.',
      ),
    backchannelLogoutUri: text(logoutUriRule)
      .optional()
      .describe('Where it is told that a session has ended (OpenID Connect Back-Channel Logout 1.0). Not for service.'),
    backchannelLogoutSessionRequired: z
      .boolean()
      .optional()
      .describe(
        'Whether a logout token is of use to it only with a session in it (sid). Then it is not told when ' +
          'somebody is signed out everywhere who has no session here any more.',
      ),
    origins: z
      .array(text(originRule))
      .transform((all) => all.map(serialisedOrigin))
      .prefault([])
      .describe(
        'Origins whose pages may call the token endpoint (CORS), such as https://app.example.com; compared as ' +
          'browsers write them (RFC 6454 §6.2).',
      ),
    allowRedirectSchemesThatAnyAppMayClaim: z
      .boolean()
      .optional()
      .describe(
        'DANGER, for type native only: lets redirect URIs have a scheme without a dot, such as vscode:. Any ' +
          'application on the device may claim that scheme and be handed the code instead (RFC 8252 §8.4).',
      ),
    firstParty: z
      .boolean()
      .default(false)
      .describe(
        'Whether people use it without being asked for consent. ' +
          'On a device (native) they are asked each time all the same, unless they return to an https address: anything ' +
          'installed there can answer to another scheme or a loopback port (RFC 8252 §8.6).',
      ),
    pkce: z
      .enum(['required', 'optional'])
      .default('required')
      .describe('Whether sign-in needs PKCE (RFC 7636). optional is for type web only.'),
    access: z
      .record(z.string(), z.array(z.string()))
      .default({})
      .describe(
        'The APIs it may call: for each audience, the scopes it may ask for. <issuer>/admin is Signet itself, ' +
          'with admin:read and admin:write.',
      ),
    defaultAudience: z.string().optional().describe('Audience of an access token when the request names no resource.'),
    accessTokenLife: accessTokenLife('Life of its access tokens, instead of tokens.accessTokenLife.').optional(),
    refreshTokens: z.boolean().optional().describe('Whether it may have refresh tokens. Default: all but service.'),
    introspects: z
      .array(z.string())
      .optional()
      .describe(
        'Audiences of the APIs that it is, whose tokens it may ask us about (RFC 7662). ' + 'Its own it may always.',
      ),
  })
  .superRefine(
    (app, ctx) => {
      const given = (['secret', 'secretFile', 'secretSha256'] as const).filter((name) => app[name] !== undefined);
      const confidential = app.type === 'web' || app.type === 'service';
      if (!confidential && given.length > 0) {
        const message = `is not for type ${app.type}: what ships to people cannot keep a secret; remove it`;
        ctx.addIssue(issue([given[0] ?? 'secret'], message));
      }
      if (confidential && given.length !== 1) {
        const found = given.length === 0 ? 'it has none' : `it has ${given.join(' and ')}`;
        const message = `of type ${app.type} needs exactly one of secret, secretFile and secretSha256; ${found}`;
        ctx.addIssue(issue([], message));
      }
    },
    when('type', 'secret', 'secretFile', 'secretSha256'),
  )
  .superRefine(
    (app, ctx) => {
      const refuse = (path: PropertyKey[], message: string) => ctx.addIssue(issue(path, message));
      if (app.type === 'service') {
        for (const name of ['redirectUris', 'postLogoutRedirectUris'] as const) {
          if (app[name].length > 0) refuse([name], 'is not for type service: nobody signs in there; remove it');
        }
        return;
      }
      if (app.redirectUris.length === 0) refuse(['redirectUris'], `needs at least one URI for type ${app.type}`);
      const rule = schemeRule(app.type, { allowUndotted: app.allowRedirectSchemesThatAnyAppMayClaim });
      for (const name of ['redirectUris', 'postLogoutRedirectUris'] as const) {
        for (const [index, uri] of app[name].entries()) {
          const problem = isSound(ctx, [name, index]) ? rule(uri) : undefined;
          if (problem) refuse([name, index], problem);
        }
      }
    },
    whenTyped('type', 'redirectUris', 'postLogoutRedirectUris', 'allowRedirectSchemesThatAnyAppMayClaim'),
  )
  .superRefine(
    ({ type, allowRedirectSchemesThatAnyAppMayClaim: isAllowed }, ctx) => {
      if (type === 'native' || !isAllowed) return;
      const message = `is for type native only, not for ${type}; remove it`;
      ctx.addIssue(issue(['allowRedirectSchemesThatAnyAppMayClaim'], message));
    },
    when('type', 'allowRedirectSchemesThatAnyAppMayClaim'),
  )
  .superRefine(
    ({ type, backchannelLogoutUri: uri, backchannelLogoutSessionRequired: isRequired }, ctx) => {
      if (type === 'service' && uri !== undefined) {
        ctx.addIssue(issue(['backchannelLogoutUri'], 'is not for type service: nobody signs in there; remove it'));
      } else if (isRequired && uri === undefined) {
        ctx.addIssue(issue(['backchannelLogoutSessionRequired'], 'has no use without backchannelLogoutUri'));
      }
    },
    when('type', 'backchannelLogoutUri', 'backchannelLogoutSessionRequired'),
  )
  .superRefine(
    ({ type, clientUri }, ctx) => {
      if (type !== 'service' || clientUri === undefined) return;
      ctx.addIssue(issue(['clientUri'], 'is not for type service: nobody signs in there; remove it'));
    },
    when('type', 'clientUri'),
  )
  .superRefine(
    ({ type, pkce }, ctx) => {
      if (pkce === 'required' || type === 'web') return;
      ctx.addIssue(issue(['pkce'], `may be optional for type web only, not for ${type}`));
    },
    when('type', 'pkce'),
  )
  .superRefine(
    ({ type, refreshTokens }, ctx) => {
      if (type !== 'service' || !refreshTokens) return;
      ctx.addIssue(issue(['refreshTokens'], 'is not for type service (RFC 6749 §4.4.3); remove it'));
    },
    when('type', 'refreshTokens'),
  )
  .superRefine(
    ({ type, introspects }, ctx) => {
      if (!introspects?.length || type === 'web' || type === 'service') return;
      const message = `is not for type ${type}: who asks about tokens has to prove who it is; remove it`;
      ctx.addIssue(issue(['introspects'], message));
    },
    when('type', 'introspects'),
  )
  .superRefine(
    ({ access, defaultAudience }, ctx) => {
      if (defaultAudience === undefined || Object.hasOwn(access, defaultAudience)) return;
      ctx.addIssue(issue(['defaultAudience'], 'must be one of the audiences under access'));
    },
    when('access', 'defaultAudience'),
  );

/** Scopes that mean something to the issuer itself; an API cannot have them. */
const reservedScopes = ['openid', 'profile', 'email', 'roles', 'offline_access'];

const scopeName = pattern(
  /^[\x21\x23-\x5b\x5d-\x7e]+$/,
  'must not have spaces, quotes or backslashes (RFC 6749 §3.3)',
).refine((scope) => !reservedScopes.includes(scope), {
  error: `is reserved, like all of ${reservedScopes.join(', ')}; give the scope another name`,
});

export const api = z.strictObject({
  audience: text(audienceRule).describe(
    'What names the API; becomes "aud": a URI, or any other text without a colon (RFC 7519 §2). The parameter ' +
      'resource takes a URI only (RFC 8707): an audience rabbitmq is asked for as urn:signet:audience:rabbitmq, or not ' +
      'at all, where it is the only one of an application or its defaultAudience.',
  ),
  name: line(100).describe('Name that people see when they are asked for consent.'),
  scopes: z
    .record(scopeName, line(300))
    .default({})
    .describe('For each scope, what it allows, in words for the consent page.'),
  accessTokenLife: accessTokenLife('Life of access tokens for this API, instead of tokens.accessTokenLife.').optional(),
});

/** The API of this server itself, which always exists; an application is given access to it like to any other. */
export function administrationApi(issuer: string) {
  return {
    audience: `${issuer}/admin`,
    name: 'Signet administration',
    scopes: {
      'admin:read': 'See keys, applications, people and what was done',
      'admin:write': 'Rotate keys, and change applications and people',
    },
  } satisfies z.output<typeof api>;
}

export const settings = z
  .strictObject({
    issuer: text(issuerRule)
      .optional()
      .describe('Public URL of this server, without trailing slash; becomes "iss". Default: localhost, listen.port.'),
    listen: listen.prefault({}).describe('Where the server listens.'),
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
      const all: Array<z.output<typeof api>> = [...apis, administrationApi(issuerOf(config))];
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

export type Settings = z.output<typeof settings>;

/** The issuer, configured or by default. */
export function issuerOf(config: Pick<Settings, 'issuer' | 'listen'>): string {
  return config.issuer ?? `http://localhost:${config.listen.port}`;
}

/** The JSON Schema of signet.yaml, for editors: committed as signet.schema.json. */
export function configJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(settings, { io: 'input', target: 'draft-7' });
  return { ...schema, title: 'signet.yaml' };
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

function isSound({ issues }: z.core.ParsePayload, at: PropertyKey[]): boolean {
  return !issues.some(({ path = [] }) => at.every((name, index) => path[index] === name));
}

/** Positions of the values that an earlier position already has. */
function repeated(values: readonly unknown[]): number[] {
  return [...values.keys()].filter((at) => typeof values[at] === 'string' && values.indexOf(values[at]) < at);
}
