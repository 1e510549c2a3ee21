// What oidc-provider does, as audit events and, where something is broken, log lines. Listeners belong to one Provider,
// so they are attached anew to each that takes over.

import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { Audit } from '../audit/audit.ts';
import type { AuditEventName } from '../audit/events.ts';
import { audienceOf } from '../clients/apis.ts';
import type { Log } from '../log.ts';
import { comeAgain, isComeAgain, logFailedRequest } from '../web/failed-request.ts';
import { requestOf } from '../web/request.ts';
import type { AnsweredAgain } from './refresh.ts';
import { refusedParameter } from './refused-parameter.ts';

type ProtocolError = Error & { error_description?: string; error_detail?: string };

export function auditProvider(provider: Provider, audit: Audit, log: Log): void {
  const record = (event: AuditEventName, ctx: KoaContextWithOIDC, detail: Record<string, unknown> = {}) => {
    const { requestId, address } = requestOf(ctx);
    audit.record({
      event,
      requestId,
      address,
      detail,
      clientId: ctx.oidc?.client?.clientId,
      subject: ctx.oidc?.account?.accountId ?? ctx.oidc?.session?.accountId,
    });
  };
  const refused = (event: AuditEventName) => (ctx: KoaContextWithOIDC, error: ProtocolError) =>
    record(event, ctx, {
      error: error.message,
      description: error.error_description,
      reason: error.error_detail,
      ...refusedParameter({
        error: error.message,
        description: error.error_description,
        parameters: (ctx.oidc?.params ?? ctx.query) as Record<string, unknown>,
      }),
    });

  // oidc-provider says how a token request went, and then refresh.ts has the last word: what is true is noted after it.
  const outcomes = new WeakMap<object, (ctx: KoaContextWithOIDC) => void>();
  provider.use(async (ctx, next) => {
    await next();
    const protocol = ctx as unknown as KoaContextWithOIDC;
    const again = ctx.state.answeredAgain as AnsweredAgain | undefined;
    // The rotations of such a chain are in the trail, and each of them said that it is ahead of its pace.
    if (again === 'ahead of its pace') return;
    if (again === 'repeated elsewhere')
      record('token.issued_elsewhere', protocol, { ...grantOf(protocol), first: ctx.state.firstAskedFrom });
    else if (again) record('token.issued_again', protocol, grantOf(protocol));
    else outcomes.get(ctx)?.(protocol);
  });
  provider.on('grant.success', (granted) =>
    outcomes.set(granted, (ctx) => {
      if (ctx.status === 200)
        record('token.issued', ctx, { ...grantOf(ctx), scope: scopeOf(ctx), kinds: kindsIn(ctx.body as object) });
      else record('token.refused', ctx, { ...grantOf(ctx), reason: ctx.state.refusal });
    }),
  );
  provider.on('grant.error', (asked, error) => outcomes.set(asked, (ctx) => refused('token.refused')(ctx, error)));
  provider.on('authorization.success', (ctx) =>
    record('authorization.granted', ctx, { scope: ctx.oidc.params?.scope }),
  );
  provider.on('authorization.error', refused('authorization.refused'));
  provider.on('userinfo.error', refused('userinfo.refused'));
  provider.on('grant.revoked', (ctx, grantId) => record('grant.revoked', ctx, { grantId, cause: causeOf(ctx) }));
  provider.on('end_session.success', (ctx) => record('session.ended', ctx));
  provider.on('end_session.error', refused('session.end_refused'));
  provider.on('end_session_confirm.error', refused('session.end_refused'));

  // These never reach our own error handler: oidc-provider answers them itself, so here is where they are logged.
  provider.on('server_error', (ctx, error) => {
    logFailedRequest(log, ctx, error);
    // A page has been shown already (issuer/pages.ts).
    if (isComeAgain(ctx, error) && typeof ctx.body !== 'string') ctx.body = comeAgain;
  });
}

function grantOf({ oidc }: KoaContextWithOIDC): Record<string, unknown> {
  const { grant_type: grantType, resource } = oidc.params ?? {};
  return { grantType, audience: typeof resource === 'string' ? audienceOf(resource) : resource };
}

/** Why oidc-provider ends a grant by itself: somebody signed out, or what may be used once was used again. */
function causeOf({ oidc }: KoaContextWithOIDC): string {
  if (oidc.route !== 'token') return 'the person signed out';
  return oidc.params?.grant_type === 'refresh_token' ? 'a refresh token was used again' : 'a code was used again';
}

function scopeOf({ oidc }: KoaContextWithOIDC): string | undefined {
  const { AccessToken, ClientCredentials } = oidc.entities;
  return (AccessToken ?? ClientCredentials)?.scope;
}

/** access, id, refresh: of which kinds the answer has a token. */
export function kindsIn(answer: object): string[] {
  return Object.keys(answer).flatMap((name) => /^(.+)_token$/.exec(name)?.[1] ?? []);
}
