// The admin API, at /admin/api/v1. Everything under it needs an access token, also what does not exist: a stranger
// learns nothing. Routes are thin: what they do is keys/operations.ts, as on the command line, and the documents are
// the same. Errors are { error, error_description, hint } (the names of RFC 6749 §5.2). No CORS: no other origins.

import Router from '@koa/router';
import type { Context, Middleware } from 'koa';
import { z } from 'zod';
import type { Accounts } from '../accounts/accounts.ts';
import type { Actor } from '../audit/actor.ts';
import type { Audit } from '../audit/audit.ts';
import { databaseFailureIn } from '../database/failures.ts';
import { AppError, isAppError } from '../errors.ts';
import type { Grants } from '../grants/grants.ts';
import { type Forced, forceOf, type KeyOperations, UnsafeStep } from '../keys/operations.ts';
import type { Log } from '../log.ts';
import { type AccessToken, VerificationError } from '../verifier/index.ts';
import { readJson } from '../web/body.ts';
import { comeAgain, logFailedRequest, retryAfter } from '../web/failed-request.ts';
import { requestOf } from '../web/request.ts';
import { type AdminScope, type Authorizer, type Caller, requireAdminScope } from './authorize.ts';

interface AdminApiParts {
  authorizer: Authorizer;
  keys: KeyOperations;
  accounts: Pick<Accounts, 'find' | 'signOut'>;
  grants: Pick<Grants, 'list' | 'revoke'>;
  audit: Pick<Audit, 'record'>;
  log: Log;
  /** Called after each act on keys, so that this server follows before the answer is sent. */
  keysChanged: () => Promise<void>;
  /** Microsoft's signing keys; absent where nobody signs in with Microsoft. `poll`: so that this server follows. */
  entraKeys?: { ask: (by: Actor) => Promise<object>; poll: () => Promise<void> } | undefined;
}

const root = '/admin/api';
const reason = z.string().min(1).max(500);
const forced = z.strictObject({ force: z.boolean().optional(), reason: reason.optional() });
const nothing = z.strictObject({});

export function adminApi(parts: AdminApiParts): Middleware {
  const { authorizer, keys, accounts, grants, entraKeys, audit, log, keysChanged } = parts;
  const router = new Router({ prefix: `${root}/v1` });

  router.get(
    '/keys',
    allow('admin:read', () => keys.status()),
  );
  router.get(
    '/keys/consumers',
    allow('admin:read', () => keys.jwksClients()),
  );
  router.post(
    '/keys/prepare',
    act(nothing, (by) => keys.prepare(by)),
  );
  router.post(
    '/keys/rotate',
    allow('admin:write', async (ctx, caller) => {
      const { dryRun = false, ...body } = await bodyOf(ctx, forced.extend({ dryRun: z.boolean().optional() }));
      if (dryRun) return keys.planRotation({ force: body.force ?? false });
      return changed(keys.rotate(actOf(ctx, caller, body)));
    }),
  );
  router.post(
    '/keys/rekey',
    act(nothing, (by) => keys.rekey(by)),
  );
  router.post(
    '/keys/:kid/activate',
    act(forced, (by, kid) => keys.activate(kid, by)),
  );
  router.post(
    '/keys/:kid/retire',
    act(forced, (by, kid) => keys.retire(kid, by)),
  );
  router.post(
    '/keys/:kid/destroy',
    act(forced, (by, kid) => keys.destroy(kid, by)),
  );
  router.post(
    '/keys/:kid/revoke',
    allow('admin:write', async (ctx, caller) => {
      const revocation = z.strictObject({ reason, cutSessions: z.boolean().optional(), force: z.boolean().optional() });
      const { reason: why, cutSessions = false, force } = await bodyOf(ctx, revocation);
      const by = { ...actOf(ctx, caller), force: force ? why : undefined };
      return changed(keys.revoke(kidOf(ctx), why, by, { cutSessions }));
    }),
  );
  router.get(
    '/accounts/:account/grants',
    allow('admin:read', async (ctx) => {
      const accountId = await accountOf(ctx);
      return { accountId, grants: await grants.list(accountId) };
    }),
  );
  router.post(
    '/accounts/:account/sign-out',
    allow('admin:write', async (ctx, caller) => {
      await bodyOf(ctx, nothing);
      const accountId = await accountOf(ctx);
      const { requestId, address } = requestOf(ctx);
      const { actor, clientId } = caller;
      return { accountId, grantsEnded: await accounts.signOut(accountId, actor, { clientId, requestId, address }) };
    }),
  );
  router.post(
    '/grants/:grant/revoke',
    allow('admin:write', async (ctx, caller) => {
      await bodyOf(ctx, nothing);
      return grants.revoke(param(ctx, 'grant'), actOf(ctx, caller));
    }),
  );

  router.post(
    '/entra/refresh-keys',
    allow('admin:write', async (ctx, caller) => {
      await bodyOf(ctx, nothing);
      if (!entraKeys) throw new AppError('entra_not_configured', 404, 'there is no entra section in the configuration');
      const asked = await entraKeys.ask(actOf(ctx, caller));
      await entraKeys.poll();
      return asked;
    }),
  );

  async function accountOf(ctx: Context): Promise<string> {
    const account = await accounts.find(param(ctx, 'account'));
    if (!account) throw new AppError('account_unknown', 404, 'there is no such account');
    return account.id;
  }

  /** A route for callers with `scope`; what `answer` resolves to is the document. */
  function allow(scope: AdminScope, answer: (ctx: Context, caller: Caller) => Promise<object>) {
    return async (ctx: Context) => {
      const caller = ctx.state.caller as Caller;
      requireAdminScope(caller, scope);
      ctx.body = await answer(ctx, caller);
    };
  }

  /** A route that acts on keys, for administrators who may write. */
  function act<Body extends Forced>(body: z.ZodType<Body>, work: (by: Actor, kid: string) => Promise<object>) {
    return allow('admin:write', async (ctx, caller) => {
      const given = await bodyOf(ctx, body);
      return changed(work(actOf(ctx, caller, given), kidOf(ctx)));
    });
  }

  async function changed<T>(work: Promise<T>): Promise<T> {
    const result = await work;
    await keysChanged();
    return result;
  }

  const routes = router.routes();
  const answerElsewhere = async (ctx: Context) => refuseUnknown(ctx, router);

  return async (ctx, next) => {
    if (ctx.path !== root && !ctx.path.startsWith(`${root}/`)) return next();
    ctx.set('Cache-Control', 'no-store');
    try {
      ctx.state.caller = await authorizer.authorize(ctx);
      await routes(ctx as never, () => answerElsewhere(ctx));
    } catch (error) {
      refuse(ctx, error);
    }
  };

  function refuse(ctx: Context, error: unknown): void {
    const { requestId, address } = requestOf(ctx);
    const { status, headers, body } = refusalOf(error);
    if (status >= 500) logFailedRequest(log, ctx, error);
    const { token } = ctx.state as { token?: AccessToken };
    if (token && (status === 401 || status === 403)) {
      audit.record({
        event: 'admin.refused',
        actor: token.sub,
        clientId: token.clientId,
        requestId,
        address,
        detail: { error: body.error, description: body.error_description, method: ctx.method, path: ctx.path },
      });
    }
    ctx.status = status;
    ctx.set(headers);
    ctx.body = { ...body, request_id: requestId };
  }
}

function actOf(ctx: Context, { actor, clientId }: Caller, body: Forced = {}): Actor {
  const { requestId, address } = requestOf(ctx);
  return { actor, clientId, requestId, address, force: forceOf(body) };
}

const kidOf = (ctx: Context) => param(ctx, 'kid');

function param(ctx: Context, name: string): string {
  return String((ctx as Context & { params: Record<string, string | undefined> }).params[name] ?? '');
}

/** The body, with the members of `shape` and no others; none at all is an empty one. */
async function bodyOf<T>(ctx: Context, shape: z.ZodType<T>): Promise<T> {
  const parsed = shape.safeParse((await readJson(ctx)) ?? {});
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const at = issue?.path.join('.') ?? '';
  const isUnknown = issue?.code === 'unrecognized_keys';
  const problem = isUnknown ? 'the document has a member that is not known here' : (issue?.message ?? '');
  throw new AppError('invalid_request', 400, at === '' ? problem : `${at}: ${problem}`);
}

function refuseUnknown(ctx: Context, router: Router): never {
  const methods = router.stack.filter((layer) => layer.match(ctx.path)).flatMap((layer) => layer.methods);
  if (methods.length === 0) throw new AppError('not_found', 404, 'there is nothing at this address');
  ctx.set('Allow', [...new Set(methods)].join(', '));
  throw new AppError('method_not_allowed', 405, `${ctx.method} is not for this address`);
}

interface Refusal {
  status: number;
  headers: Record<string, string>;
  body: { error: string; error_description: string; hint?: string | undefined; would_break?: object };
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof VerificationError) {
    const headers = {
      ...(error.wwwAuthenticate && { 'WWW-Authenticate': error.wwwAuthenticate }),
      ...(error.retryAfterSeconds && { 'Retry-After': String(error.retryAfterSeconds) }),
    };
    const hint = error.status === 401 ? 'send an access token for this API: Authorization: Bearer …' : undefined;
    return { status: error.status, headers, body: { error: error.error, error_description: error.message, hint } };
  }
  if (databaseFailureIn(error)) return { status: 503, headers: { 'Retry-After': retryAfter }, body: comeAgain };
  if (!isAppError(error) || error.status >= 500) {
    const status = isAppError(error) ? error.status : 500;
    const code = isAppError(error) ? error.code : 'server_error';
    const hint = 'the log has the cause, under the request id';
    return { status, headers: {}, body: { error: code, error_description: 'this cannot be done at the moment', hint } };
  }
  const { status, code, message, hint } = error;
  // RFC 6750 §3.1; our sentences have no quotes in them.
  const headers: Record<string, string> =
    code === 'invalid_token'
      ? { 'WWW-Authenticate': `Bearer error="invalid_token", error_description="${message}"` }
      : {};
  const details = error instanceof UnsafeStep ? { would_break: error.wouldBreak } : {};
  return { status, headers, body: { error: code, error_description: message, hint, ...details } };
}
