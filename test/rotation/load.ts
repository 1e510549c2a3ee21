// People and services at work: sign-ins, refreshes of long-lived grants, client credentials, each in loops that wait
// for one answer before they ask again. A request whose connection was cut is repeated as a client would repeat it.

import { setTimeout as pause } from 'node:timers/promises';
import { callback, ordersApi } from '../support/signet.ts';
import { asClient, authorizationRequest, authorize, tokenRequest, UserAgent } from '../support/user-agent.ts';
import type { Judge } from './judge.ts';

interface Chain {
  /** The newest refresh token of the grant. */
  refreshToken: string;
  /** When each refresh was answered. */
  refreshedAt: number[];
}

export interface Load {
  counts: { signIns: number; refreshes: number; clientCredentials: number };
  /** One grant each, refreshed from the beginning to the end. */
  chains: Chain[];
  /** Requests that broke off because the server that had them was killed. */
  interrupted: number;
  /** Answers that nobody should get. */
  failures: string[];
  stop(): Promise<void>;
}

const native = { clientId: 'device', redirectUri: 'http://127.0.0.1/callback' };
const spa = { clientId: 'spa', redirectUri: callback };

export async function startLoad(issuer: string, judge: Judge): Promise<Load> {
  const stopping = new AbortController();
  const load: Load = {
    counts: { signIns: 0, refreshes: 0, clientCredentials: 0 },
    chains: [],
    interrupted: 0,
    failures: [],
    async stop() {
      stopping.abort();
      await Promise.all(loops);
    },
  };

  async function tokens(parameters: Record<string, string>, clientId: string): Promise<Record<string, any>> {
    const requestedAt = Date.now();
    const { status, body } = await tokenRequest(issuer, parameters, asClient(clientId));
    if (status !== 200) throw new Error(`${parameters.grant_type} of ${clientId}: ${status} ${JSON.stringify(body)}`);
    judge.see(body, requestedAt);
    return body;
  }

  async function signIn({ clientId, redirectUri }: typeof spa): Promise<Chain> {
    const request = authorizationRequest(issuer, {
      client_id: clientId,
      redirect_uri: redirectUri,
      resource: ordersApi,
    });
    const answer = await authorize(new UserAgent(issuer), request.url);
    const code = answer.get('code');
    if (code === null) throw new Error(`no code: ${answer}`);
    const { refresh_token: refreshToken } = await tokens(
      { grant_type: 'authorization_code', code, code_verifier: request.verifier, redirect_uri: redirectUri },
      clientId,
    );
    load.counts.signIns += 1;
    return { refreshToken, refreshedAt: [] };
  }

  async function refresh(chain: Chain, { clientId }: typeof spa): Promise<void> {
    const answer = await tokens({ grant_type: 'refresh_token', refresh_token: chain.refreshToken }, clientId);
    chain.refreshToken = answer.refresh_token;
    chain.refreshedAt.push(Date.now());
    load.counts.refreshes += 1;
  }

  // fetch says TypeError where no answer came. Whether the request was carried out nobody knows, so it is made again:
  // a refresh with the same token, a sign-in from its beginning.
  async function persistently(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof TypeError)) return void load.failures.push(String(error));
      load.interrupted += 1;
      await persistently(work);
    }
  }

  async function loop(everyMs: number, work: () => Promise<unknown>): Promise<void> {
    while (!stopping.signal.aborted) {
      await persistently(work);
      await pause(everyMs);
    }
  }

  for (let count = 0; count < 4; count += 1) load.chains.push(await signIn(native));

  const loops = [
    ...load.chains.map((chain) => loop(200, () => refresh(chain, native))),
    ...[0, 1].map(() =>
      loop(250, async () => {
        const session = await signIn(spa);
        await persistently(() => refresh(session, spa));
      }),
    ),
    ...[0, 1].map(() =>
      loop(80, async () => {
        await tokens({ grant_type: 'client_credentials', resource: ordersApi }, 'service');
        load.counts.clientCredentials += 1;
      }),
    ),
  ];
  return load;
}
