// Where Microsoft sends browsers back to. What a sign-in ends in is somebody else's (`complete`); how it fails is
// written down here, once: in the audit trail for whoever asks later, in the log for whoever has to act.

import Router from '@koa/router';
import type { Context } from 'koa';
import type { Audit } from '../audit/audit.ts';
import { AppError } from '../errors.ts';
import type { ReturnLinks } from '../issuer/return-links.ts';
import type { Log } from '../log.ts';
import { readForm } from '../web/body.ts';
import { sendPage } from '../web/headers.ts';
import type { Pages } from '../web/pages.ts';
import { sendRedirect } from '../web/redirect.ts';
import { requestOf } from '../web/request.ts';
import { entraCallbackPath, resumePath } from './callback.ts';
import type { MountedEntraConnector } from './connector.ts';
import { EntraError } from './errors.ts';
import type { FinishedSignIn } from './identity.ts';

export interface EntraRoutesParts {
  connector: MountedEntraConnector;
  complete(ctx: Context, finished: FinishedSignIn): Promise<void>;
  /** Answers a failed sign-in. */
  failed(ctx: Context, error: EntraError): Promise<void> | void;
  audit: Audit;
  log: Log;
}

export function entraRoutes(parts: EntraRoutesParts): Router {
  const { connector, complete, failed, audit, log } = parts;
  const router = new Router();

  router.get([entraCallbackPath, resumePath], (ctx) =>
    answering(ctx, async () => {
      // A code is used up by a GET; whoever only looks (a link scanner, a prefetch) must not do that.
      if (ctx.method === 'HEAD') throw new AppError('method_not_allowed', 405, 'This address answers GET only.');
      await complete(ctx, await connector.finish(ctx));
    }),
  );

  router.post(entraCallbackPath, (ctx) =>
    answering(ctx, async () => {
      sendRedirect(ctx, await connector.stash(await readForm(ctx)));
    }),
  );

  async function answering(ctx: Context, work: () => Promise<void>): Promise<void> {
    ctx.set({ 'Cache-Control': 'no-store', 'Referrer-Policy': 'no-referrer' });
    try {
      await work();
    } catch (error) {
      if (!(error instanceof EntraError)) throw error;
      if (error.facts.redirectTo !== undefined) return sendRedirect(ctx, error.facts.redirectTo);
      writeDown(ctx, error);
      await failed(ctx, error);
    }
  }

  function writeDown(ctx: Context, { failure, alert, facts, hint, cause }: EntraError): void {
    if (failure === 'consent_given' || failure === 'consent_declined') {
      return log.info(`entra.${failure}`, { requestId: requestOf(ctx).requestId });
    }
    const { requestId, address } = requestOf(ctx);
    const { reason, numbers, correlationId } = facts;
    audit.record({
      event: alert === 'security' ? 'signin.forged' : 'signin.refused',
      requestId,
      address,
      detail: { method: 'entra', failure, reason, aadsts: numbers, correlationId },
    });
    const write = alert ? log.error : failure === 'transient' ? log.warn : log.info;
    write('entra.sign_in_failed', { failure, reason, aadsts: numbers, correlationId, requestId, hint, cause });
  }

  return router;
}

/** Says what happened, with what Microsoft's support would ask for. */
export function failurePage(pages: Pages, returnLinks: Pick<ReturnLinks, 'from'>) {
  return async (ctx: Context, { title, message, status, code, isChoice, facts }: EntraError): Promise<void> => {
    const home = await returnLinks.from(ctx);
    if (isChoice) return sendPage(ctx, pages.message({ title, message, home }), { status });
    if (facts.retryAfterSeconds !== undefined) ctx.set('Retry-After', String(facts.retryAfterSeconds));
    const reference = facts.correlationId === undefined ? '' : ` (${facts.correlationId}, ${new Date().toISOString()})`;
    const { requestId } = requestOf(ctx);
    sendPage(ctx, pages.error({ title, message: `${message}${reference}`, requestId, code, home }), { status });
  };
}
