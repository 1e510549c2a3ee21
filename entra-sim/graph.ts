// Microsoft Graph v1.0, as far as a sign-in needs it: who am I, and which groups am I in.

import { randomUUID } from 'node:crypto';
import type { Exchange, Reply } from './exchange.ts';
import { json } from './exchange.ts';
import { attackerHost, isLocal } from './hosts.ts';
import { pairwiseSubject } from './id-token.ts';
import type { AccessGrant, Simulation } from './simulation.ts';

export interface GraphSettings {
  /** Page size when $top is left out. Graph's is 100. */
  pageSize: number;
  /** Largest page. Graph's is 999. */
  maxPageSize: number;
  /** Above this getMemberGroups and getMemberObjects fail. Graph's is 11 000. */
  memberLimit: number;
  /**
   * Where @odata.nextLink leads: on ('good'), to another host ('foreign'), to the same page again and again
   * ('loop'), to another path of the same host ('other-path'), or to plain http ('http').
   */
  nextLink: 'good' | 'foreign' | 'loop' | 'other-path' | 'http';
}

export const graphDefaults: Readonly<GraphSettings> = {
  pageSize: 100,
  maxPageSize: 999,
  memberLimit: 11_000,
  nextLink: 'good',
};

/** A refusal in Graph's JSON. */
class GraphError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function graph(sim: Simulation, exchange: Exchange): Reply {
  try {
    const grant = authorized(sim, exchange);
    if (exchange.endpoint === 'me') return me(exchange, grant);
    if (exchange.endpoint === 'userinfo') return userinfo(grant);
    if (grant.user.tenant.isConsumers) throw denied('Personal accounts are not supported.');
    if (/^(transitiveM|m)emberOf$/.test(exchange.endpoint)) return memberOf(sim, exchange, grant);
    return getMembers(sim, exchange, grant);
  } catch (error) {
    if (!(error instanceof GraphError)) throw error;
    const innerError = { date: new Date(sim.clock.now()).toISOString(), 'request-id': exchange.trace.traceId };
    return json({ error: { code: error.code, message: error.message, innerError } }, error.status);
  }
}

/** The user of the bearer token, where it is known, whatever becomes of the request: what fault rules match on. */
export function graphGrant(sim: Simulation, { headers }: Exchange): AccessGrant | undefined {
  return sim.accessTokens.get(/^Bearer (\S+)$/i.exec(headers.authorization ?? '')?.[1] ?? '');
}

function authorized(sim: Simulation, exchange: Exchange): AccessGrant {
  const grant = graphGrant(sim, exchange);
  if (grant === undefined) throw new GraphError(401, 'InvalidAuthenticationToken', 'Access token is empty.');
  // A token of one cloud is no token in another.
  if (grant.user.tenant.graphHost !== exchange.host && !isLocal(exchange.host)) {
    throw new GraphError(401, 'InvalidAuthenticationToken', 'Access token validation failure. Invalid audience.');
  }
  if (grant.expiresAtMs <= sim.clock.now()) {
    throw new GraphError(401, 'InvalidAuthenticationToken', 'Lifetime validation failed, the token is expired.');
  }
  const scopes = [...grant.scopes, ...grant.app.graphScopes];
  const needed =
    exchange.endpoint === 'getMemberGroups' || exchange.endpoint === 'getMemberObjects'
      ? ['GroupMember.Read.All', 'Group.Read.All', 'Directory.Read.All']
      : exchange.endpoint === 'userinfo'
        ? ['openid']
        : ['User.Read', 'Directory.Read.All'];
  if (!needed.some((scope) => scopes.includes(scope))) {
    throw denied('Insufficient privileges to complete the operation.');
  }
  return grant;
}

const denied = (message: string) => new GraphError(403, 'Authorization_RequestDenied', message);
const bad = (message: string) => new GraphError(400, 'Request_BadRequest', message);

function me({ origin, query }: Exchange, { user }: AccessGrant): Reply {
  const all: Record<string, unknown> = {
    businessPhones: [],
    displayName: user.name,
    givenName: user.givenName ?? null,
    jobTitle: null,
    mail: user.mail ?? null,
    mobilePhone: null,
    officeLocation: null,
    preferredLanguage: null,
    surname: user.familyName ?? null,
    userPrincipalName: user.upn,
    id: user.oid,
  };
  return json({ '@odata.context': `${origin}/v1.0/$metadata#users/$entity`, ...selected(all, query.get('$select')) });
}

function userinfo({ user, app }: AccessGrant): Reply {
  const { name, givenName: given_name, familyName: family_name, mail: email } = user;
  return json({ sub: pairwiseSubject(app.clientId, user.tenant.id, user.oid), name, given_name, family_name, email });
}

function memberOf(sim: Simulation, exchange: Exchange, { user }: AccessGrant): Reply {
  const { path, query, origin } = exchange;
  const onlyGroups = path.toLowerCase().endsWith('/microsoft.graph.group');
  const ids = exchange.endpoint === 'transitiveMemberOf' ? user.allGroupIds : user.groupIds;
  const object = (type: string, id: string, displayName: string) => ({
    '@odata.type': `#microsoft.graph.${type}`,
    id,
    displayName,
  });
  const groups = ids.map((id) => object('group', id, `Group ${id.slice(0, 8)}`));
  // Without the cast, Graph mixes directory roles into the answer: a reader that takes every id for a group is caught.
  const role = object('directoryRole', user.oid.replace(/^./, 'f'), 'Directory Readers');
  const all = onlyGroups || groups.length === 0 ? groups : [role, ...groups];

  const top = Number(query.get('$top') ?? sim.graph.pageSize);
  if (!Number.isInteger(top) || top < 1 || top > 999) throw bad("Invalid page size specified: '$top'.");
  const size = Math.min(top, sim.graph.maxPageSize);
  const start = Number(Buffer.from(query.get('$skiptoken') ?? '', 'base64url').toString() || 0);
  const value = all.slice(start, start + size).map((group) => ({
    ...(onlyGroups ? {} : { '@odata.type': group['@odata.type'] }),
    ...selected(group, query.get('$select'), ['@odata.type']),
  }));
  const more = start + size < all.length;
  return json({
    '@odata.context': `${origin}/v1.0/$metadata#${onlyGroups ? 'groups' : 'directoryObjects'}`,
    ...(more ? { '@odata.nextLink': nextLink(sim, exchange, start + size) } : {}),
    value,
  });
}

function nextLink({ graph }: Simulation, { origin, path, query }: Exchange, start: number): string {
  const next = new URLSearchParams(query);
  const further = Buffer.from(String(start)).toString('base64url');
  next.set('$skiptoken', graph.nextLink === 'loop' ? (query.get('$skiptoken') ?? '') : further);
  const base = {
    good: `${origin}${path}`,
    loop: `${origin}${path}`,
    foreign: `https://${attackerHost}${path}`,
    'other-path': `${origin}/beta/users`,
    http: `${origin.replace('https:', 'http:')}${path}`,
  }[graph.nextLink];
  return `${base}?${next.toString()}`;
}

function getMembers(sim: Simulation, exchange: Exchange, { user }: AccessGrant): Reply {
  if (exchange.method !== 'POST') throw bad('Specified HTTP method is not allowed for the request target.');
  const ids = user.allGroupIds;
  if (ids.length > sim.graph.memberLimit) {
    const message = 'The size of the result set exceeds the maximum limit.';
    throw new GraphError(400, 'Directory_ResultSizeLimitExceeded', message);
  }
  const others = exchange.endpoint === 'getMemberObjects' ? [randomUUID()] : []; // a directory role's id
  const context = `${exchange.origin}/v1.0/$metadata#Collection(Edm.String)`;
  return json({ '@odata.context': context, value: [...ids, ...others] });
}

function selected(
  all: Record<string, unknown>,
  select: string | null,
  never: readonly string[] = [],
): Record<string, unknown> {
  const names = select?.split(',') ?? Object.keys(all);
  return Object.fromEntries(Object.entries(all).filter(([name]) => names.includes(name) && !never.includes(name)));
}
