// The schema of an application (an OAuth client, RFC 6749 §2) and of an API (a resource server) as signet.yaml declares
// them. What one value of theirs may look like is application-rules.ts.

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
import { accessTokenLife, isSound, issue, line, pattern, secret, text, when, whenTyped } from './fields.ts';

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

export interface ApplicationConfig
  extends Omit<z.output<typeof application>, 'secret' | 'secretFile' | 'secretSha256'> {
  /** SHA-256 of the client secret, hex. Present for the types web and service, and for no other. */
  secretHash?: string;
  refreshTokens: boolean;
}

export type ApiConfig = z.output<typeof api>;
