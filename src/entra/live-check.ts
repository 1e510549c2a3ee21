// What only a live tenant can tell: nine habits of Entra that this connector depends on or would like to rely on, and
// that no document settles. One person signs in once; the report says what was seen, and nothing about the person.

import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { Dispatcher } from 'undici';
import type { EntraConfig } from '../config/config.ts';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { authorityOf, cloudOf } from './clouds.ts';
import { type Credential, createCredentials } from './credentials.ts';
import * as msal from './msal.ts';
import { createNetwork, type Network } from './network.ts';
import { readErrorResponse, TokenRefusal } from './oauth-error.ts';
import { createTenantKeys } from './tenant-keys.ts';
import { tokenPoster } from './token-endpoint.ts';
import { type VerifiedClaims, verifyIdToken } from './verification.ts';

interface Finding {
  /** As the list in docs/entra.md is numbered. */
  number: number;
  question: string;
  seen: string;
}

interface LiveCheckOptions {
  config: EntraConfig;
  /** Where the browser comes back to. http://localhost:<port>/sign-in/entra/callback has to be registered. */
  port: number;
  /** An authentication context to ask for, such as c1. */
  context?: string | undefined;
  dispatcher?: Dispatcher | undefined;
  log: Log;
  /** Called with the URL that a person has to open. */
  ready(url: string): void;
  waitMs?: number;
}

const maxAgeSeconds = 3600;
const oneHourMs = 3_600_000;

/** @throws {AppError} entra_unusable: nothing could be learnt */
export async function checkLive(options: LiveCheckOptions): Promise<Finding[]> {
  const { config, port, context, dispatcher, log, ready, waitMs = oneHourMs / 4 } = options;
  const cloud = cloudOf(config);
  const authority = authorityOf(cloud, config.tenant);
  const network = createNetwork({
    hosts: [cloud.login, cloud.graph],
    proxy: config.proxy,
    dispatcher,
    timeoutMs: 10_000,
    log,
  });
  try {
    const [usable] = await createCredentials(config, { log }).usable();
    if (!usable) throw unusable('no credential can be used', 'the log says what is wrong with it');
    const redirectUri = `http://localhost:${port}/sign-in/entra/callback`;
    const [codeVerifier, nonce, state] = [random(), random(), random()];
    const app: msal.EntraApp = { authority, clientId: config.clientId, scopes: [], offlineAccess: false };
    const correlationId = randomUUID();
    const idToken = {
      auth_time: { essential: true },
      ...(context === undefined ? {} : { acrs: { essential: true, value: context } }),
    };
    const url = await msal.authorizeUrl(app, {
      redirectUri,
      responseMode: 'query',
      state,
      nonce,
      correlationId,
      maxAgeSeconds,
      claims: JSON.stringify({ id_token: idToken }),
      codeChallenge: createHash('sha256').update(codeVerifier).digest('base64url'),
    });
    const answer = await comeBack(port, state, () => ready(url), waitMs);
    const code = answer.get('code');
    if (code === null) return [refusedAt(answer)];

    const request = { code, codeVerifier, nonce, redirectUri, correlationId };
    const survived = await redeemWrongly(app, network, request);
    const { tokens, hadRefreshToken } = await redeem(app, usable.credential, network, request);
    if (!tokens) return [codeSurvives(survived, false), codeLength(code)];
    const keys = createTenantKeys({
      load: async () => (await network.request({ method: 'GET', url: authority.jwksUri })).document,
      log,
    });
    const claims = await verifyIdToken(tokens.idToken, keys, {
      cloud,
      clientId: config.clientId,
      nonce,
      now: Date.now(),
      allowedTenants: null,
    });
    return [
      codeSurvives(survived, true),
      ...findingsIn(claims, context),
      {
        number: 6,
        question: 'Is a code redeemed without offline_access, and without a refresh token?',
        seen: `yes; ${hadRefreshToken ? 'but Entra sent a refresh token' : 'no refresh token came'}`,
      },
      {
        number: 8,
        question: refusals,
        seen: 'not tried: run this again and press Cancel, or use an unassigned account',
      },
      codeLength(code),
    ].sort((a, b) => a.number - b.number);
  } finally {
    await network.close();
  }
}

const refusals = 'Which refusals come back to us, as which error?';

function refusedAt(answer: URLSearchParams): Finding {
  const { error, numbers } = readErrorResponse(Object.fromEntries(answer)) ?? {
    error: 'nothing readable',
    numbers: [],
  };
  const subcode = /^\w{1,40}$/.exec(answer.get('error_subcode') ?? '')?.[0];
  const aadsts = numbers.map((number) => `AADSTS${number}`).join(', ') || 'no number';
  return { number: 8, question: refusals, seen: `error=${error}, error_subcode=${subcode ?? 'none'}, ${aadsts}` };
}

function findingsIn(claims: VerifiedClaims, context: string | undefined): Finding[] {
  const { login_hint: hint, acrs, auth_time: authTime, exp, xms_edov: edov, _claim_sources: sources } = claims;
  const endsWithAge = typeof authTime === 'number' && exp === authTime + maxAgeSeconds;
  const source = Object.values((sources ?? {}) as Record<string, { endpoint?: unknown }>)[0]?.endpoint;
  return [
    { number: 2, question: 'Does login_hint arrive in the ID token?', seen: typeof hint === 'string' ? 'yes' : 'no' },
    {
      number: 3,
      question: 'Are acrs honoured under the id_token member of claims?',
      seen: context === undefined ? 'not tried: name a context with --context c1' : contextSeen(acrs, context),
    },
    {
      number: 4,
      question: 'What comes of max_age?',
      seen: `auth_time is ${typeOf(authTime)}; exp is ${endsWithAge ? 'auth_time + max_age' : 'not cut short by it'}`,
    },
    { number: 5, question: 'Of which JSON type is xms_edov?', seen: typeOf(edov) },
    {
      number: 7,
      question: 'Which host does _claim_sources name?',
      seen: typeof source === 'string' ? (URL.parse(source)?.host ?? 'no URL') : 'none: this person is in few groups',
    },
  ];
}

function contextSeen(acrs: unknown, context: string): string {
  const isGranted = Array.isArray(acrs) && acrs.includes(context);
  return `acrs is ${typeOf(acrs)} and ${isGranted ? 'holds' : 'does not hold'} ${context}`;
}

function typeOf(value: unknown): string {
  if (value === undefined) return 'absent';
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

const codeLength = (code: string): Finding => ({
  number: 9,
  question: 'How long is a code?',
  seen: `${code.length} characters`,
});

function codeSurvives(refusal: string, redeemed: boolean): Finding {
  const seen = `${redeemed ? 'yes' : 'no, or something else is wrong'} (the wrong secret met ${refusal})`;
  return { number: 1, question: 'Is a code still good after a failed client authentication?', seen };
}

type Redemption = Parameters<typeof msal.redeem>[3];

/** With a secret that cannot be right; what Entra said to it. */
async function redeemWrongly(app: msal.EntraApp, network: Network, request: Redemption): Promise<string> {
  try {
    await msal.redeem(app, { kind: 'secret', secret: random() }, tokenPoster(network, request.correlationId), request);
    return 'success, which must not be';
  } catch (error) {
    if (!(error instanceof TokenRefusal)) throw error;
    const { error: name, numbers } = error.response;
    return [name, ...numbers.map((number) => `AADSTS${number}`)].join(' ');
  }
}

async function redeem(app: msal.EntraApp, credential: Credential, network: Network, request: Redemption) {
  let hadRefreshToken = false;
  const post = tokenPoster(network, request.correlationId);
  const watching: msal.PostForm = async (url, body) => {
    const document = await post(url, body);
    hadRefreshToken = document['refresh_token'] !== undefined;
    return document;
  };
  try {
    return { tokens: await msal.redeem(app, credential, watching, request), hadRefreshToken };
  } catch (error) {
    if (!(error instanceof TokenRefusal)) throw error;
    return { tokens: undefined, hadRefreshToken };
  }
}

/** The one callback that carries our state. */
async function comeBack(port: number, state: string, listening: () => void, waitMs: number): Promise<URLSearchParams> {
  let server: Server | undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise((resolve, reject) => {
      server = createServer((req, res) => {
        const { pathname, searchParams } = new URL(req.url ?? '/', 'http://localhost');
        const isOurs = pathname === '/sign-in/entra/callback' && searchParams.get('state') === state;
        res.writeHead(isOurs ? 200 : 404, { 'Content-Type': 'text/plain; charset=utf-8', Connection: 'close' });
        res.end(isOurs ? 'Thank you. You may close this window; the terminal has the report.' : 'Not this address.');
        if (isOurs) resolve(searchParams);
      });
      server.once('error', (cause) =>
        reject(unusable(`port ${port} cannot be used`, 'name another one with --port', cause)),
      );
      server.listen(port, 'localhost', listening);
      const late = unusable(
        'nobody came back',
        'some refusals stay on Microsoft’s page; what it says there is the answer',
      );
      timer = setTimeout(() => reject(late), waitMs);
    });
  } finally {
    clearTimeout(timer);
    server?.close();
  }
}

const random = () => randomBytes(32).toString('base64url');

function unusable(problem: string, hint: string, cause?: unknown): AppError {
  return new AppError('entra_unusable', 500, problem, { hint, cause });
}
