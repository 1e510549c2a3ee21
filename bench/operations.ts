// The operations that are measured, as a client carries them out: over kept connections, and as cheaply as Node can.

import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { authorizationRequest, redemption, signIn, type UserAgent } from '../test/support/user-agent.ts';

export const concurrency = 8;

export type Operation = (worker: number) => Promise<void>;

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

const agent = new Agent({ keepAlive: true, maxSockets: concurrency });

function ask(url: string, headers: Record<string, string | number> = {}, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent, headers, method: body === undefined ? 'GET' : 'POST' }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () =>
        resolve({
          status: incoming.statusCode!,
          headers: incoming.headers,
          body: Buffer.concat(chunks).toString(),
        }),
      );
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

async function post(url: string, clientId: string, form: Record<string, string>): Promise<Record<string, string>> {
  const body = new URLSearchParams(form).toString();
  const headers = {
    'Content-Type': 'application/x-www-form-urlencoded',
    'Content-Length': body.length,
    Authorization: `Basic ${btoa(`${clientId}:correct-horse-battery-staple-0123456789`)}`,
  };
  const answer = await ask(url, headers, body);
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.body}`);
  return JSON.parse(answer.body) as Record<string, string>;
}

export function clientCredentials(url: string): Operation {
  return async () =>
    void (await post(`${url}/token`, 'service', { grant_type: 'client_credentials', scope: 'orders:read' }));
}

/** Each worker has a grant of its own and always spends the newest token, as an application does. */
export function refresh(url: string, tokens: string[]): Operation {
  return async (worker) => {
    const answer = await post(`${url}/token`, 'web', { grant_type: 'refresh_token', refresh_token: tokens[worker]! });
    tokens[worker] = answer.refresh_token!;
  };
}

export function introspection(url: string, token: string): Operation {
  return async () => void (await post(`${url}/token/introspection`, 'web', { token }));
}

/** `GET /auth` in a browser that is signed in, and the code's exchange. */
export function codeFlow(url: string, browser: UserAgent): Operation {
  const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  return async () => {
    const asked = authorizationRequest(url, { client_id: 'web' });
    const { status, headers } = await ask(asked.url, { Cookie: cookie });
    const code = new URL(headers.location ?? url).searchParams.get('code');
    if (code === null) throw new Error(`no code: ${status} ${headers.location}`);
    await post(`${url}/token`, 'web', redemption(asked, code));
  };
}

/** @param etag 'with': what is asked for is there already, and the answer 304 */
export async function document(address: string, etag: 'with' | 'without'): Promise<Operation> {
  const first = await ask(address);
  const headers: Record<string, string> = etag === 'with' ? { 'If-None-Match': first.headers.etag ?? '' } : {};
  return async () => {
    const { status } = await ask(address, headers);
    if (status !== (etag === 'with' ? 304 : 200)) throw new Error(`${address}: ${status}`);
  };
}

/** Browsers that are signed in, and the tokens that they were given. */
export async function signedIn(url: string) {
  const all = [];
  while (all.length < concurrency) all.push(await signIn(url, { clientId: 'web' }));
  return {
    browser: all[0]!.agent,
    accessToken: String(all[0]!.tokens.access_token),
    refreshTokens: all.map(({ tokens }) => String(tokens.refresh_token)),
  };
}
