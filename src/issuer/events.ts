// What oidc-provider does, as audit events and, where something is broken, log lines. Listeners belong to one Provider,
// so they are attached anew to each that takes over.

import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { Audit } from '../audit.ts';
import type { Log } from '../log.ts';
import type { RequestState } from './provider.ts';

type ProtocolError = Error & { error_description?: string; error_detail?: string };

export function auditProvider(provider: Provider, audit: Audit, log: Log): void {
  const record = (event: string, ctx: KoaContextWithOIDC, detail: Record<string, unknown> = {}) => {
    const { requestId, address } = ctx.state as Partial<RequestState>;
    audit.record({
      event, requestId, address, detail,
      clientId: ctx.oidc?.client?.clientId,
      subject: ctx.oidc?.account?.accountId ?? ctx.oidc?.session?.accountId,
    });
  };
  const refused = (event: string) => (ctx: KoaContextWithOIDC, error: ProtocolError) => {
    if (ctx.state.answeredAgain) return;
    record(event, ctx, { error: error.message, description: error.error_description, reason: error.error_detail });
  };

  provider.on('grant.success', (ctx) => {
    const { grant_type: grantType, resource } = (ctx.oidc.params ?? {}) as Record<string, string>;
    record('token.issued', ctx, { grantType, audience: resource, scope: scopeOf(ctx) });
  });
  provider.on('grant.error', refused('token.refused'));
  provider.on('authorization.success', (ctx) => record('authorization.granted', ctx, { scope: ctx.oidc.params?.scope }));
  provider.on('authorization.error', refused('authorization.refused'));
  provider.on('userinfo.error', refused('userinfo.refused'));
  provider.on('grant.revoked', (ctx, grantId) => record('grant.revoked', ctx, { grantId, endpoint: ctx.oidc.route }));
  provider.on('end_session.success', (ctx) => record('session.ended', ctx));
  provider.on('end_session.error', refused('session.end_refused'));

  // These never reach our own error handler: oidc-provider answers them itself, so here is where they are logged.
  provider.on('server_error', (ctx, error) => {
    log.error('request.failed', { path: ctx.path, method: ctx.method, requestId: ctx.state.requestId, error });
  });
}

function scopeOf({ oidc }: KoaContextWithOIDC): string | undefined {
  const { AccessToken, ClientCredentials } = oidc.entities;
  return (AccessToken ?? ClientCredentials)?.scope;
}
