// The token endpoint's short way (RFC 6749 §3.2). Services and browsers ask little else but three things, in one plain form: a token for
// themselves, the tokens of a code, the next ones of a refresh token. Where such a request can be granted it is granted
// here, in straight code: one statement reads what it rests on, one writes. Whatever is not plain, or may be refused, is
// handed on as it came to oidc-provider, which knows all the rest. So every refusal has one home.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Audit } from '../../audit/audit.ts';
import type { AuditEventName } from '../../audit/events.ts';
import type { Clients } from '../../clients/clients.ts';
import { databaseFailureIn } from '../../database/failures.ts';
import type { Log } from '../../log.ts';
import { endpoints } from '../../web/endpoints.ts';
import { failure, logFailedRequest } from '../../web/failed-request.ts';
import { headersOfEveryAnswer } from '../../web/headers.ts';
import type { RequestState } from '../../web/request.ts';
import type { SecretThrottle } from '../../web/secret-throttle.ts';
import { kindsIn } from '../events.ts';
import { grantHasEnded, invalidGrant } from '../provider-refresh.ts';
import type { RefreshRotation } from '../refresh.ts';
import type { TokenAnswer } from './issuing.ts';
import { type PlainRequest, readPlainRequest } from './plain-request.ts';

/** What a request was granted, and what the audit trail says of it. */
export interface Granted {
  answer: TokenAnswer;
  event: AuditEventName | undefined;
  subject?: string;
  scope: string | undefined;
  /** Of the API that was named. */
  audience: string | undefined;
  firstAskedFrom?: string | undefined;
}

/** What turned out, by what was learned on the way, to have ended: it was there when oidc-provider would have looked. */
export interface Ended {
  ended: true;
  subject: string;
  audience: string | undefined;
}

/** Undefined: it is not for the short way. Nothing was written then. */
type Grant = (request: PlainRequest, from: RequestOrigin) => Promise<Granted | Ended | undefined>;

/** From where a request came, and when it was meant, epoch milliseconds. */
export interface RequestOrigin {
  address: string;
  arrivedAt: number;
}

export interface TokenEndpoint {
  /** Answers the request, or says that it did not: then nothing was written to `res`, and the body can still be read. */
  answer(req: IncomingMessage, res: ServerResponse, state: RequestState): Promise<boolean>;
}

interface TokenEndpointParts {
  issuer: string;
  grants: Readonly<Record<string, Grant>>;
  clients: Pick<Clients, 'find'>;
  secretThrottle: Pick<SecretThrottle, 'knows'>;
  arrivalOf: RefreshRotation['arrivalOf'];
  audit: Pick<Audit, 'record'>;
  log: Log;
  now(): number;
}

export function createTokenEndpoint(parts: TokenEndpointParts): TokenEndpoint {
  const { issuer, grants, audit, log, arrivalOf, now } = parts;
  const always = Object.entries({
    ...headersOfEveryAnswer({ issuer }),
    Vary: 'Origin',
    'Access-Control-Expose-Headers': 'WWW-Authenticate',
    'Cache-Control': 'no-store', // RFC 6749 §5.1
    'Content-Type': 'application/json; charset=utf-8',
  }).flat();

  function send(
    res: ServerResponse,
    { requestId }: RequestState,
    origin: string,
    status: number,
    answer: object,
  ): void {
    const body = JSON.stringify(answer);
    const length = String(Buffer.byteLength(body));
    const own = ['X-Request-Id', requestId, 'Access-Control-Allow-Origin', origin, 'Content-Length', length];
    res.writeHead(status, [...always, ...own]);
    res.end(body);
  }

  function recordGranted(request: PlainRequest, granted: Granted, { requestId, address }: RequestState): void {
    const { event, subject, audience, scope, firstAskedFrom, answer } = granted;
    if (event === undefined) return;
    const { grant_type: grantType } = request.parameters;
    const detail =
      event === 'token.issued'
        ? { grantType, audience, scope, kinds: kindsIn(answer) }
        : { grantType, audience, ...(event === 'token.issued_elsewhere' && { first: firstAskedFrom }) };
    audit.record({ event, requestId, address, clientId: request.application.clientId, subject, detail });
  }

  function recordEnded(
    request: PlainRequest,
    { subject, audience }: Ended,
    { requestId, address }: RequestState,
  ): void {
    const { grant_type: grantType } = request.parameters;
    const detail = { grantType, audience, reason: grantHasEnded };
    const { clientId } = request.application;
    audit.record({ event: 'token.refused', requestId, address, clientId, subject, detail });
  }

  return {
    async answer(req, res, state) {
      const from = { address: state.address, arrivedAt: arrivalOf(state, now()) };
      try {
        const request = await readPlainRequest(req, state.address, parts);
        if (!request) return false;
        const outcome = await attempt(request, from);
        if (!outcome) {
          request.putBack();
          return false;
        }
        if ('ended' in outcome) {
          recordEnded(request, outcome, state);
          send(res, state, request.origin ?? '*', 400, invalidGrant);
        } else {
          recordGranted(request, outcome, state);
          send(res, state, request.origin ?? '*', 200, outcome.answer);
        }
      } catch (error) {
        logFailedRequest(log, { path: endpoints.token.path, method: 'POST', state }, error);
        send(res, state, '*', 500, failure);
      }
      req.resume(); // its end is still to be read
      return true;
    },
  };

  async function attempt(request: PlainRequest, from: RequestOrigin): Promise<Granted | Ended | undefined> {
    const { grant_type: type = '' } = request.parameters;
    try {
      return Object.hasOwn(grants, type) ? await grants[type]!(request, from) : undefined;
    } catch (error) {
      // The database is away. What was to be written may have been: oidc-provider looks at it anew, or says so.
      if (databaseFailureIn(error)) return undefined;
      throw error;
    }
  }
}
