// A browser sends a cookie along with requests that another site's page caused. So a request whose credential is a
// cookie has to show where it comes from, twice over: by Fetch Metadata, which no page can forge, and by a header of
// our own, which a page of another origin can only send after a CORS preflight that somebody has to allow.
// (Fetch Metadata Request Headers §2; draft-ietf-oauth-browser-based-apps §6.1.3.3)

import { VerificationError } from './errors.ts';

/** `X-Signet-CSRF: 1`, in node's spelling. */
const csrfHeader = 'x-signet-csrf';

/** The part of node's IncomingMessage that is read. */
export interface CookieRequest {
  readonly method?: string | undefined;
  readonly headers: { readonly [name: string]: string | readonly string[] | undefined };
}

interface CsrfRule {
  /** Also from pages of the same site, with the header: for an API at api.example.com of a page at app.example.com. */
  sameSite?: boolean;
  /** Also where a person follows a link from elsewhere: for pages, whose GET changes nothing. */
  navigation?: boolean;
}

/**
 * Refuses what another site's page may have caused. Without the header only reading is allowed, and only where the
 * browser says that the request is the page's own or the person's.
 * @throws {VerificationError} `cross_site_request` (403)
 */
export function refuseForgery(request: CookieRequest, { sameSite = false, navigation = false }: CsrfRule = {}): void {
  if (navigation && isNavigation(request)) return;
  const site = request.headers['sec-fetch-site'];
  const marked = request.headers[csrfHeader] === '1';
  const own = site === 'same-origin' || site === 'none';
  if (own && (marked || isRead(request))) return;
  // Not every client says where a request comes from. One that sends the header is not a browser led astray.
  if (marked && (site === undefined || (sameSite && site === 'same-site'))) return;
  throw new VerificationError(
    'cross_site_request',
    'with a cookie, this needs the header X-Signet-CSRF: 1 and a page of our own',
  );
}

/** Whether a person's browser asks for a page to show, in a whole window. */
export function isNavigation(request: CookieRequest): boolean {
  if (request.method !== 'GET' && request.method !== 'HEAD') return false;
  const { 'sec-fetch-mode': mode, 'sec-fetch-dest': destination, accept } = request.headers;
  if (mode !== undefined || destination !== undefined) return mode === 'navigate' && destination === 'document';
  return /\btext\/html\b/.test(String(accept));
}

function isRead({ method }: CookieRequest): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
}
