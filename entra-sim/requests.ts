// The request log and the questions that tests ask of it: how often, by whom, and whether a secret ever went where it
// must not go.

import type { IncomingHttpHeaders } from 'node:http';

import type { Endpoint } from './exchange.ts';
import type { Facts } from './rules.ts';

export interface LoggedRequest extends Facts {
  endpoint: Endpoint;
  method: string;
  host: string;
  /** Path and query as sent. */
  url: string;
  query: URLSearchParams;
  form: URLSearchParams;
  headers: IncomingHttpHeaders;
  body: string;
  /** Status that was answered; undefined while pending, hanging or reset. */
  status?: number | undefined;
  /** Whether a fault answered in the endpoint's place. */
  faulty: boolean;
  /** By this machine's clock. */
  atMs: number;
}

export interface RequestLog {
  add(request: LoggedRequest): void;
  all(endpoint?: Endpoint): readonly LoggedRequest[];
  count(endpoint?: Endpoint): number;
  /** Every request whose URL, headers or body contain `value`: plain, percent-encoded, or inside Basic credentials. */
  carrying(value: string): readonly LoggedRequest[];
  /** Throws when a request to `host` (any host when left out) carried `value`. */
  assertNeverCarried(value: string, host?: string): void;
  /** Throws when `value` was seen at any other endpoint, or in a URL, where proxies and histories keep it. */
  assertOnlySeenAt(endpoint: Endpoint, value: string): void;
  clear(): void;
}

export function createRequestLog(): RequestLog {
  let requests: LoggedRequest[] = [];
  const carrying = (value: string) => requests.filter((request) => carries(request, value));
  const lines = (found: readonly LoggedRequest[]) =>
    found.map(({ method, host, endpoint }) => `${method} ${host} (${endpoint})`).join(', ');

  return {
    add: (request) => requests.push(request),
    all: (endpoint) => requests.filter((request) => endpoint === undefined || request.endpoint === endpoint),
    count: (endpoint) => requests.filter((request) => endpoint === undefined || request.endpoint === endpoint).length,
    carrying,
    assertNeverCarried(value, host) {
      const found = carrying(value).filter((request) => host === undefined || request.host === host);
      if (found.length > 0) throw new Error(`the value was carried by ${lines(found)}`);
    },
    assertOnlySeenAt(endpoint, value) {
      const misplaced = (request: LoggedRequest) => request.endpoint !== endpoint || inText(request.url, value);
      const found = carrying(value).filter(misplaced);
      if (found.length > 0) throw new Error(`the value was seen outside the body of ${endpoint}: ${lines(found)}`);
    },
    clear: () => {
      requests = [];
    },
  };
}

function carries(request: LoggedRequest, value: string): boolean {
  if (value === '') throw new Error('an empty string is in every request: which value is meant?');
  const basic = /^Basic (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  const credentials = basic === undefined ? '' : Buffer.from(basic, 'base64').toString();
  const texts = [request.url, JSON.stringify(request.headers), request.body, credentials];
  return texts.some((text) => inText(text, value)) || [...request.form.values()].includes(value);
}

function inText(text: string, value: string): boolean {
  const forms = [value, encodeURIComponent(value), new URLSearchParams({ '': value }).toString().slice(1)];
  return forms.some((form) => text.includes(form));
}
