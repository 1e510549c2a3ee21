// One bounded GET of a document from the issuer: https (or loopback), no redirects, a size limit, a time limit. The
// address comes from configuration or from the issuer's own discovery document; that of a status list comes from a
// token that the issuer signed, and status-list-cache.ts lets it lead nowhere but to the issuer.

const maxBytes = 512 * 1024;

export interface Question {
  userAgent: string;
  signal: AbortSignal;
  /** Of the document we have. */
  etag?: string | undefined;
}

interface Fetched {
  /** Undefined when the document we have is still current (304). */
  text: string | undefined;
  etag: string | undefined;
  /** What Cache-Control allows; undefined when it says nothing. */
  maxAgeSeconds: number | undefined;
}

/** The same with the text parsed: undefined where that is. */
export async function fetchJson(url: string, question: Question): Promise<Fetched & { document: unknown }> {
  const fetched = await fetchText(url, { ...question, accept: 'application/json' });
  return { ...fetched, document: fetched.text === undefined ? undefined : JSON.parse(fetched.text) };
}

export async function fetchText(
  url: string,
  { accept, userAgent, signal, etag }: Question & { accept: string },
): Promise<Fetched> {
  const headers: Record<string, string> = { accept, 'user-agent': userAgent };
  if (etag !== undefined) headers['if-none-match'] = etag;
  // A redirect would let whoever can answer once move the keys to another place.
  const response = await fetch(url, { headers, signal, redirect: 'error' });
  const unchanged = response.status === 304 && etag !== undefined;
  if (!unchanged && response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`GET ${url} answered ${response.status}`);
  }
  return {
    text: unchanged ? undefined : await readBounded(response, url),
    etag: response.headers.get('etag') ?? (unchanged ? etag : undefined),
    maxAgeSeconds: readMaxAge(response.headers.get('cache-control')),
  };
}

/** Runs `ask` with a signal that is raised after `seconds`, or with `closing`. */
export async function withDeadline<T>(
  seconds: number,
  closing: AbortSignal,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  closing.throwIfAborted();
  const abort = new AbortController();
  const stop = () => abort.abort(new Error('the issuer did not answer in time'));
  const timeout = setTimeout(stop, seconds * 1000);
  closing.addEventListener('abort', stop);
  try {
    return await ask(abort.signal);
  } finally {
    clearTimeout(timeout);
    closing.removeEventListener('abort', stop);
  }
}

async function readBounded(response: Response, url: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > maxBytes) throw new Error(`GET ${url} answered more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function readMaxAge(cacheControl: string | null): number | undefined {
  if (cacheControl === null) return undefined;
  if (/(?:^|[\s,])no-(?:store|cache)(?:$|[\s,])/i.test(cacheControl)) return 0;
  const seconds = /(?:^|[\s,])max-age="?(\d{1,9})/i.exec(cacheControl)?.[1];
  return seconds === undefined ? undefined : Number(seconds);
}

/**
 * A URL to fetch keys from: https, or http on this very machine, where nobody is between.
 * @throws {TypeError} naming what is wrong
 */
export function checkAddress(name: string, value: string, allowHttp: boolean): URL {
  if (!URL.canParse(value)) throw new TypeError(`${name} must be an absolute URL`);
  const url = new URL(value);
  if (url.username !== '' || url.password !== '' || url.hash !== '') {
    throw new TypeError(`${name} must not have a user, a password or a fragment`);
  }
  if (url.protocol === 'https:') return url;
  if (url.protocol === 'http:' && (allowHttp || isLoopback(url.hostname))) return url;
  throw new TypeError(`${name} must be https: over http anyone on the way could answer in its place`);
}

// WHATWG URL has already turned 127.1, 0x7f000001 and the like into dotted decimals.
function isLoopback(hostname: string): boolean {
  return /^(?:.+\.)?localhost$/.test(hostname) || hostname === '[::1]' || /^127(?:\.\d+){3}$/.test(hostname);
}

/**
 * An issuer is compared character by character (RFC 7519 §4.1.1), so that one in another spelling than its tokens have
 * would refuse every one of them.
 * @throws {TypeError} naming what is wrong
 */
export function checkIssuer(issuer: string, allowHttp: boolean): void {
  const { href, pathname, search } = checkAddress('issuer', issuer, allowHttp);
  if (search !== '') throw new TypeError('issuer must not have a query');
  const written = pathname.endsWith('/') ? href.replace(/\/+$/, '') : href;
  if (issuer.endsWith('/')) throw new TypeError(`issuer must be written without a slash at its end: ${written}`);
  if (issuer !== written) throw new TypeError(`issuer must be written as ${written}`);
}
