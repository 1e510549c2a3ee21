// Sign-out at Microsoft: ends the browser's session, calls the applications' front-channel URLs, and goes back.

import type { IncomingHttpHeaders } from 'node:http';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';

import type { App } from './applications.ts';
import { sessionCookie } from './authorize.ts';
import type { Exchange, Reply } from './exchange.ts';
import { html } from './exchange.ts';
import { signedOutPage } from './pages.ts';
import type { Session, Simulation } from './simulation.ts';

/** `sid` as the front-channel call carries it: the session's, none, one of nobody, or twice. */
export type FrontChannelSid = 'with' | 'without' | 'wrong' | 'twice';

export function logout(sim: Simulation, exchange: Exchange): Reply {
  const parameters = exchange.method === 'POST' ? exchange.form : exchange.query;
  // The session is this browser's: logout_hint only spares the person the question which account is meant.
  const session = sim.sessions.get(exchange.cookies.get(sessionCookie) ?? '');
  const used = session === undefined ? [] : appsOf(sim, session);
  if (session !== undefined) sim.sessions.delete(session.cookie);

  const frames = used.map((app) => frontChannelUrl(app, session!.sid, 'with'));
  const next = parameters.get('post_logout_redirect_uri') ?? undefined;
  // Entra goes back only to addresses that are registered as redirect URIs; otherwise its own page is the end.
  const known = sim.apps.some(({ redirectUris }) => next !== undefined && redirectUris.includes(next));
  const state = parameters.get('state');
  const target = known && next !== undefined ? withState(next, state) : undefined;
  const cookie = `${sessionCookie}=; Path=/; Secure; HttpOnly; SameSite=None; Max-Age=0`;
  return html(signedOutPage(frames, target), 200, { 'Set-Cookie': cookie });
}

/** The URL that Entra would load in a hidden frame. It carries no `iss`, whatever the specification says. */
export function frontChannelUrl(app: App, sid: string, how: FrontChannelSid): string {
  const { frontChannelLogoutUrl, optionalClaims } = app;
  if (frontChannelLogoutUrl === undefined) throw new Error('the application has no front-channel logout URL');
  const url = new URL(frontChannelLogoutUrl);
  // Without the optional claim `sid` the application could not tell which session is meant, so Entra sends none.
  if (how === 'without' || !optionalClaims.has('sid')) return url.href;
  url.searchParams.append('sid', how === 'wrong' ? '00000000-0000-4000-8000-000000000000' : sid);
  if (how === 'twice') url.searchParams.append('sid', sid);
  return url.href;
}

export interface FrontChannelAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

/** Loads the URL as the frame would: GET, no cookies. `ca` is for an application with a test certificate. */
export async function callFrontChannel(url: string, ca?: string): Promise<FrontChannelAnswer> {
  const send = url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const headers = { 'Sec-Fetch-Dest': 'iframe', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Site': 'cross-site' };
    const outgoing = send(url, { headers, ...(ca === undefined ? {} : { ca }) }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (piece: string) => {
        body += piece;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
    outgoing.on('error', reject).end();
  });
}

function appsOf(sim: Simulation, { sid }: Session): App[] {
  const used = [...sim.codes.values()].filter((code) => code.sid === sid && code.redeemed).map(({ app }) => app);
  return [...new Set(used)].filter(({ frontChannelLogoutUrl }) => frontChannelLogoutUrl !== undefined);
}

function withState(uri: string, state: string | null): string {
  if (state === null) return uri;
  const url = new URL(uri);
  url.searchParams.set('state', state);
  return url.href;
}
