// Requests that a standard lets applications send as a form, from their own pages, in the browser of somebody who may be
// signed in here: OIDC Core §3.1.2.1 (authorization) and RP-Initiated Logout §2. Our cookies are SameSite=Lax, and so do
// not come along with a POST from another site. The same request as a GET has them, and is what is answered.

import type { Context, Middleware } from 'koa';
import { readFields } from './body.ts';
import { endpoints } from './endpoints.ts';
import { sendPage } from './headers.ts';
import type { Pages } from './pages.ts';

interface FormAsGetParts {
  /** Public URL of this server. */
  issuer: string;
  pages: Pick<Pages, 'goOn'>;
}

const paths = new Set<string>([endpoints.authorization.path, endpoints.end_session.path]);
// As much as oidc-provider reads of a form (lib/shared/selective_body.js).
const maxBytes = 57_344;
// A reverse proxy has room for 4 KiB of an answer's header, others of it included (nginx, proxy_buffer_size).
const longestLocation = 2048;

export function formAsGet({ issuer, pages }: FormAsGetParts): Middleware {
  const { origin } = new URL(issuer);

  return async (ctx, next) => {
    if (ctx.method !== 'POST' || !paths.has(ctx.path)) return next();
    ctx.set('Cache-Control', 'no-store');
    const fields = await readFields(ctx, { maxBytes });
    const address = `${ctx.path}?${fields}`;
    if (address.length <= longestLocation) {
      ctx.status = 303;
      ctx.set('Location', address);
      return;
    }
    // Sent by a page of our own, the same form has the cookies.
    if (isFromElsewhere(ctx, origin)) {
      const html = pages.goOn({ action: ctx.path, fields: hidden(fields) });
      // Where it ends, at the application or first at another identity provider, only the next answer can say.
      return sendPage(ctx, html, { formAction: 'anywhere', script: true });
    }
    ctx.method = 'GET';
    ctx.url = address;
    return next();
  };
}

/** Whether a browser says that another site's page sent it: then it kept our cookies back. */
function isFromElsewhere(ctx: Context, ownOrigin: string): boolean {
  const [site, origin] = [ctx.get('Sec-Fetch-Site'), ctx.get('Origin')];
  return site === '' ? origin !== '' && origin !== ownOrigin : site === 'cross-site';
}

function hidden(fields: URLSearchParams): string {
  return [...fields]
    .map(([name, value]) => `<input type="hidden" name="${escaped(name)}" value="${escaped(value)}">`)
    .join('\n');
}

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string) => text.replace(/[&<>"]/g, (character) => entities[character] ?? character);
