// One request as the endpoints see it, one answer as they give it, and which endpoint a URL belongs to.

import type { IncomingHttpHeaders } from 'node:http';

import type { Trace } from './aadsts.ts';
import { attackerHost, graphHosts, hostName, isLocal, isLoginHost } from './hosts.ts';

type LoginEndpoint =
  | 'discovery'
  | 'instance'
  | 'keys'
  | 'authorize'
  | 'login'
  | 'token'
  | 'logout'
  | 'adminconsent'
  | 'error';
export type GraphEndpoint =
  | 'me'
  | 'memberOf'
  | 'transitiveMemberOf'
  | 'getMemberGroups'
  | 'getMemberObjects'
  | 'userinfo';
/** 'attacker': any URL of the host that belongs to nobody we trust. 'unknown': a Microsoft host, no such page. */
export type Endpoint = LoginEndpoint | GraphEndpoint | 'attacker' | 'unknown';

export interface Exchange {
  endpoint: Endpoint;
  method: string;
  /** Host name without port, lower case. */
  host: string;
  /** The login host whose tenants this request is about: `host`, or the public cloud's at an alias or localhost. */
  loginHost: string;
  /** What links in the answer begin with. */
  origin: string;
  path: string;
  /** First path segment of the login host: GUID, domain, common, organizations or consumers. */
  authority: string;
  query: URLSearchParams;
  form: URLSearchParams;
  headers: IncomingHttpHeaders;
  body: string;
  cookies: ReadonlyMap<string, string>;
  trace: Trace;
}

export interface Reply {
  status: number;
  headers: Record<string, string | string[]>;
  body: string | Buffer;
}

const noStore = { 'Cache-Control': 'no-store, no-cache', Pragma: 'no-cache', Expires: '-1' };

export function json(value: unknown, status = 200, headers: Reply['headers'] = noStore): Reply {
  const type = { 'Content-Type': 'application/json; charset=utf-8' };
  return { status, headers: { ...type, ...headers }, body: JSON.stringify(value) };
}

export function html(body: string, status = 200, headers: Reply['headers'] = {}): Reply {
  return { status, headers: { 'Content-Type': 'text/html; charset=utf-8', ...noStore, ...headers }, body };
}

export function redirect(location: string, headers: Reply['headers'] = {}): Reply {
  return { status: 302, headers: { Location: location, ...noStore, ...headers }, body: '' };
}

/** "/{authority}/…" → endpoint. Entra ignores letter case in these paths. */
const loginRoutes: readonly [RegExp, LoginEndpoint][] = [
  [/^\/common\/discovery\/instance$/i, 'instance'],
  [/^\/[^/]+\/v2\.0\/\.well-known\/openid-configuration$/i, 'discovery'],
  [/^\/[^/]+\/discovery\/v2\.0\/keys$/i, 'keys'],
  [/^\/[^/]+\/oauth2\/v2\.0\/authorize$/i, 'authorize'],
  [/^\/[^/]+\/oauth2\/v2\.0\/token$/i, 'token'],
  [/^\/[^/]+\/oauth2\/v2\.0\/logout$/i, 'logout'],
  [/^\/[^/]+\/v2\.0\/adminconsent$/i, 'adminconsent'],
  [/^\/[^/]+\/login$/i, 'login'],
  [/^\/error$/i, 'error'],
];

const graphRoutes: readonly [RegExp, GraphEndpoint][] = [
  [/^\/v1\.0\/me$/i, 'me'],
  [/^\/v1\.0\/me\/memberOf(\/microsoft\.graph\.group)?$/i, 'memberOf'],
  [/^\/v1\.0\/me\/transitiveMemberOf(\/microsoft\.graph\.group)?$/i, 'transitiveMemberOf'],
  [/^\/v1\.0\/me\/getMemberGroups$/i, 'getMemberGroups'],
  [/^\/v1\.0\/me\/getMemberObjects$/i, 'getMemberObjects'],
  [/^\/oidc\/userinfo$/i, 'userinfo'],
];

/** As sent, where it is not valid percent-encoding: hostile paths are answered, not thrown at. */
export function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function endpointOf(authority: string, path: string): Endpoint {
  const host = hostName(authority);
  if (host === attackerHost) return 'attacker';
  const isLogin = isLoginHost(host);
  const isGraph = graphHosts.includes(host);
  const routes = [...(isLogin || isLocal(host) ? loginRoutes : []), ...(isGraph || isLocal(host) ? graphRoutes : [])];
  return routes.find(([pattern]) => pattern.test(path))?.[1] ?? 'unknown';
}
