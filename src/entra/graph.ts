// Microsoft Graph, for the groups of a person who is in too many for a token. All of them or none: a page that is
// missing would silently take roles away, or leave a prohibition unseen.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../log.ts';
import { groupIds } from './identity.ts';
import { type Network, type UpstreamAnswer, UpstreamError } from './network.ts';
import { isClaimsChallenge } from './oauth-error.ts';

type GraphGroups =
  | { kind: 'complete'; ids: string[] }
  /** `claims`: Graph wants a new sign-in that satisfies them (Continuous Access Evaluation). */
  | { kind: 'unavailable'; reason: string; claims?: string };

export interface Graph {
  groupsOf(accessToken: string): Promise<GraphGroups>;
}

const deadlineMs = 5_000;
// Twelve pages of 999: Microsoft's own methods end at 11 000, too.
const mostPages = 12;
const pageSize = 999;

class GraphRefusal extends Error {
  readonly reason: string;
  readonly claims: string | undefined;

  constructor(reason: string, claims?: string) {
    super(reason);
    this.reason = reason;
    this.claims = claims;
  }
}

export function createGraph(network: Network, { host, log }: { host: string; log: Log }): Graph {
  const origin = `https://${host}`;
  // Transitive: nobody expects that a group in a group does not count. The cast leaves directory roles out.
  const first = `${origin}/v1.0/me/transitiveMemberOf/microsoft.graph.group?$select=id&$top=${pageSize}`;

  async function allPages(accessToken: string, signal: AbortSignal): Promise<string[]> {
    const ids: string[] = [];
    const seen = new Set<string>();
    for (let url: string | undefined = first; url !== undefined; ) {
      if (seen.has(url)) throw new GraphRefusal('paging_loop');
      if (seen.size === mostPages) throw new GraphRefusal('too_many_groups');
      seen.add(url);
      const { document } = await page(url, accessToken, signal);
      if (!Array.isArray(document['value'])) throw new GraphRefusal('unreadable');
      ids.push(...document['value'].map((group) => String((group as { id?: unknown } | null)?.id)));
      url = nextPage(document['@odata.nextLink']);
    }
    return groupIds(ids);
  }

  // The link goes out with the access token, so it leads to Graph's own v1.0 or nowhere.
  function nextPage(link: unknown): string | undefined {
    if (link === undefined) return undefined;
    const url = typeof link === 'string' ? URL.parse(link) : null;
    if (url?.origin !== origin || !url.pathname.startsWith('/v1.0/')) throw new GraphRefusal('foreign_next_link');
    return url.href;
  }

  async function page(
    url: string,
    accessToken: string,
    signal: AbortSignal,
    isSecond = false,
  ): Promise<UpstreamAnswer> {
    try {
      const headers = { authorization: `Bearer ${accessToken}` };
      const answer = await network.request({ method: 'GET', url, headers, signal });
      if (answer.status === 200) return answer;
      throw new GraphRefusal(refusalReason(answer), challengeIn(answer));
    } catch (error) {
      const isThrottled = error instanceof UpstreamError && error.problem === 'throttled';
      const wait = isThrottled ? error.retryAfterSeconds : undefined;
      if (isSecond || wait === undefined || wait * 1000 >= deadlineMs) throw error;
      await sleep(wait * 1000, undefined, { signal });
      return page(url, accessToken, signal, true);
    }
  }

  return {
    async groupsOf(accessToken) {
      const signal = AbortSignal.timeout(deadlineMs);
      try {
        return { kind: 'complete', ids: await allPages(accessToken, signal) };
      } catch (error) {
        const { reason, claims } = describe(error, signal);
        log.warn('entra.groups_unavailable', { reason });
        return { kind: 'unavailable', reason, ...(claims !== undefined && { claims }) };
      }
    },
  };
}

function describe(error: unknown, signal: AbortSignal): { reason: string; claims?: string | undefined } {
  if (error instanceof GraphRefusal) return error;
  if (signal.aborted) return { reason: 'timeout' };
  if (error instanceof UpstreamError) return { reason: error.problem };
  throw error;
}

function refusalReason({ status, document }: UpstreamAnswer): string {
  const code = (document['error'] as { code?: unknown } | undefined)?.code;
  const word = typeof code === 'string' && /^[A-Za-z_.]{1,64}$/.test(code) ? `:${code}` : '';
  return `status_${status}${word}`;
}

function challengeIn({ status, header }: UpstreamAnswer): string | undefined {
  const challenge = header('www-authenticate') ?? '';
  if (status !== 401 || !challenge.includes('insufficient_claims')) return undefined;
  const claims = Buffer.from(/claims="([A-Za-z0-9+/=_-]+)"/.exec(challenge)?.[1] ?? '', 'base64').toString();
  return isClaimsChallenge(claims) ? claims : undefined;
}
