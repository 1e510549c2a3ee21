// The table of endpoints: where each is, and which methods it answers. Discovery, the router and the tests go by it. The
// admin API alone has its own, behind its authorization: a stranger learns nothing of it.

import type { Context, Middleware } from 'koa';
import { AppError } from '../errors.ts';
import { requestOf } from './request.ts';

type Method = 'GET' | 'HEAD' | 'POST' | 'OPTIONS';

interface Endpoint {
  /** `:name` stands for one segment, `*` for whatever follows. */
  path: string;
  methods: readonly Method[];
}

const read: readonly Method[] = ['GET', 'HEAD'];
/** Also by pages of other origins (Fetch, "CORS protocol"). */
const readAnywhere: readonly Method[] = [...read, 'OPTIONS'];
const postAnywhere: readonly Method[] = ['POST', 'OPTIONS'];

/** What oidc-provider answers, one way or another. */
const protocol = {
  /** OIDC Core §3.1.2.1 and RP-Initiated Logout §2: by GET and by POST. */
  authorization: { path: '/auth', methods: [...read, 'POST'] },
  // It ends the sign-in. Whoever only looks (HEAD: a link scanner, a prefetch) must not do that.
  resume: { path: '/auth/:uid', methods: ['GET'] },
  end_session: { path: '/session/end', methods: [...read, 'POST'] },
  end_session_confirm: { path: '/session/end/confirm', methods: ['POST'] },
  end_session_success: { path: '/session/end/success', methods: read },
  token: { path: '/token', methods: postAnywhere },
  userinfo: { path: '/me', methods: [...readAnywhere, 'POST'] }, // OIDC Core §5.3
  jwks: { path: '/jwks', methods: readAnywhere },
  openid_configuration: { path: '/.well-known/openid-configuration', methods: readAnywhere },
  oauth_metadata: { path: '/.well-known/oauth-authorization-server', methods: readAnywhere }, // RFC 8414
} satisfies Record<string, Endpoint>;

const beside = {
  home: { path: '/', methods: read },
  assets: { path: '/assets/*', methods: read },
  live: { path: '/health/live', methods: read },
  ready: { path: '/health/ready', methods: read },
  introspection: { path: '/token/introspection', methods: postAnywhere },
  revocation: { path: '/token/revocation', methods: postAnywhere },
  status_lists: { path: '/status-lists', methods: readAnywhere },
  status_list: { path: '/status-lists/:number', methods: readAnywhere },
  sign_in: { path: '/sign-in/:uid', methods: [...read, 'POST'] },
  microsoft: { path: '/sign-in/:uid/microsoft', methods: read },
} satisfies Record<string, Endpoint>;

/** Only there where people sign in with Microsoft. */
const entra = {
  // A code is used up by a GET, so none of these answers HEAD.
  entra_callback: { path: '/sign-in/entra/callback', methods: ['GET', 'POST'] },
  entra_resume: { path: '/sign-in/entra/resume', methods: ['GET'] },
  entra_signed_out: { path: '/sign-in/entra/signed-out', methods: read },
  entra_frontchannel_logout: { path: '/sign-in/entra/frontchannel-logout', methods: ['GET'] },
} satisfies Record<string, Endpoint>;

export const endpoints = { ...beside, ...entra, ...protocol };

/** The endpoints of a server. */
export function endpointsOf(has: { entra: boolean }): Endpoint[] {
  return Object.values({ ...(has.entra && entra), ...beside, ...protocol });
}

/** Whether oidc-provider is asked: it would take other spellings of its paths as well, past whatever goes by the path. */
export const isProtocolPath: (path: string) => boolean = finder(Object.values(protocol));

/**
 * Whether a program asks there, and so reads JSON in whatever a request says that it accepts: that of Java's own client is
 * text/html first (RFC 6749 §5.2, RFC 6750 §3).
 */
export const isForPrograms: (path: string) => boolean = finder([
  protocol.token,
  protocol.userinfo,
  protocol.jwks,
  protocol.openid_configuration,
  protocol.oauth_metadata,
  beside.introspection,
  beside.revocation,
  beside.status_lists,
  beside.status_list,
]);

function finder(among: readonly Endpoint[]): (path: string) => boolean {
  const patterns = among.map(patternOf);
  return (path) => patterns.some((pattern) => pattern.test(path));
}

function patternOf({ path }: Endpoint): RegExp {
  const source = path.replaceAll('.', '\\.').replace(/:\w+/g, '[^/]+').replace('*', '.*');
  return new RegExp(`^${source}$`);
}

/** Refuses a request target that no path of ours can be. */
export function plainTarget(): Middleware {
  return (ctx, next) => {
    // The absolute form (RFC 9112 §3.2.2) names a host in the target. Nothing here may depend on what it says.
    if (!ctx.req.url?.startsWith('/')) {
      throw new AppError('invalid_target', 400, 'The request target must be a path.');
    }
    // No name, token or value of ours has one, PostgreSQL keeps none, and it would be an error of ours further in. An
    // authorization request is refused there, by way of the application (issuer/request-parameters.ts).
    if (ctx.req.url.includes('%00') && ctx.path !== endpoints.authorization.path) {
      throw new AppError('invalid_request', 400, 'The address has a null character in it.');
    }
    return next();
  };
}

/** Answers 405 with `Allow` to every other method of an endpoint (RFC 9110 §15.5.6), and OPTIONS where none asks CORS. */
export function answerMethods(has: { entra: boolean }): Middleware {
  const table = endpointsOf(has).map((endpoint) => ({ ...endpoint, pattern: patternOf(endpoint) }));
  return async (ctx, next) => {
    const endpoint = table.find(({ pattern }) => pattern.test(ctx.path));
    if (!endpoint) return next();
    const allowed = endpoint.methods.join(', ');
    if (!(endpoint.methods as readonly string[]).includes(ctx.method)) return refuse(ctx, allowed);
    if (ctx.method !== 'OPTIONS' || ctx.get('Access-Control-Request-Method') !== '') return next();
    ctx.set('Allow', allowed);
    ctx.status = 204;
  };
}

function refuse(ctx: Context, allowed: string): void {
  ctx.set('Allow', allowed);
  const message = `This address does not answer ${ctx.method}, but ${allowed}.`;
  // A program that names no type gets none of our pages here: it is programs that take the wrong method.
  if (!isForPrograms(ctx.path) && ctx.accepts('json', 'html') !== 'json')
    throw new AppError('method_not_allowed', 405, message);
  ctx.status = 405;
  // The code that RFC 6749 §5.2 has for a request that cannot be one; the status says the rest.
  ctx.body = { error: 'invalid_request', error_description: message, request_id: requestOf(ctx).requestId };
}

/**
 * Metadata of what we do beside oidc-provider (RFC 8414 §2, RFC 9701 §7, Token Status List §9.1, OpenID Connect
 * Back-Channel Logout 1.0 §2.1).
 */
export function metadataOf(issuer: string) {
  return {
    introspection_endpoint: `${issuer}${endpoints.introspection.path}`,
    introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
    introspection_signing_alg_values_supported: ['RS256'],
    revocation_endpoint: `${issuer}${endpoints.revocation.path}`,
    revocation_endpoint_auth_methods_supported: ['none', 'client_secret_basic', 'client_secret_post'],
    status_list_aggregation_endpoint: `${issuer}${endpoints.status_lists.path}`,
    backchannel_logout_supported: true,
    backchannel_logout_session_supported: true,
  };
}

/** What the home page shows. */
export function homeOf(issuer: string) {
  const { openid_configuration: discovery, jwks } = endpoints;
  return { issuer, discovery: issuer + discovery.path, jwks: issuer + jwks.path };
}
