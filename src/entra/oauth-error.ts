// Reads an OAuth error response of Entra's (RFC 6749 §4.1.2.1, §5.2) and classifies it. The class comes from `error`
// and `suberror`; AADSTS numbers only choose between classes that those two allow, since Microsoft says that "the
// numbers should never be used by the client" and changes them. Microsoft's own sentences name people, so they are
// neither shown nor logged.

import { type FailureClass, failures } from './errors.ts';

interface Allowed {
  usual: FailureClass;
  /** To which a suberror or a number may change it. */
  others: readonly FailureClass[];
}

const byOauthError: Readonly<Record<string, Allowed>> = {
  access_denied: { usual: 'declined', others: ['consent', 'not_entitled', 'account_state', 'policy'] },
  consent_required: { usual: 'consent', others: [] },
  login_required: { usual: 'no_session', others: [] },
  interaction_required: {
    usual: 'interaction',
    others: ['consent', 'not_entitled', 'account_state', 'policy', 'no_session'],
  },
  invalid_grant: {
    usual: 'stale',
    others: ['consent', 'not_entitled', 'account_state', 'policy', 'interaction', 'no_session', 'transient'],
  },
  invalid_client: { usual: 'credential', others: [] },
  unauthorized_client: { usual: 'app_config', others: ['credential', 'not_entitled'] },
  invalid_request: { usual: 'app_config', others: ['credential', 'no_session', 'stale', 'not_entitled'] },
  invalid_resource: { usual: 'app_config', others: [] },
  invalid_scope: { usual: 'app_config', others: ['consent'] },
  temporarily_unavailable: { usual: 'transient', others: [] },
  server_error: { usual: 'transient', others: [] },
};

// An error that OAuth does not know comes of a change at Microsoft or of a proxy: either is for an operator to look at.
const unknownError: Allowed = { usual: 'app_config', others: [] };

// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
const bySuberror: Readonly<Record<string, FailureClass>> = {
  consent_required: 'consent',
  message_only: 'policy',
  protection_policy_required: 'policy',
  basic_action: 'interaction',
  additional_action: 'interaction',
  user_password_expired: 'account_state',
  token_expired: 'stale',
  bad_token: 'stale',
};

const byNumber = new Map(
  (Object.entries(failures) as Array<[FailureClass, (typeof failures)[FailureClass]]>).flatMap(
    ([failure, { numbers }]) => numbers.map((number) => [number, failure] as const),
  ),
);

/** What Entra said of a failure, reduced to what is safe to log: no sentence, nothing of an unexpected form. */
export interface OAuthErrorResponse {
  error: string;
  suberror?: string;
  /** AADSTS numbers. */
  numbers: readonly number[];
  /** A Conditional Access challenge: JSON for the next request's `claims` parameter. */
  claims?: string;
  traceId?: string;
}

export function classify({ error, suberror = '', numbers }: OAuthErrorResponse): FailureClass {
  const { usual, others } = (Object.hasOwn(byOauthError, error) ? byOauthError[error] : undefined) ?? unknownError;
  const allowed = (failure: FailureClass | undefined) => failure !== undefined && others.includes(failure);
  const bySub = Object.hasOwn(bySuberror, suberror) ? bySuberror[suberror] : undefined;
  if (bySub === usual) return refined(usual);
  if (bySub !== undefined && allowed(bySub)) return bySub;
  return refined(usual);

  function refined(otherwise: FailureClass): FailureClass {
    return numbers.map((number) => byNumber.get(number)).find(allowed) ?? otherwise;
  }
}

/** Reads an OAuth error response. Undefined: it is none, whatever its status. */
export function readErrorResponse(document: Readonly<Record<string, unknown>>): OAuthErrorResponse | undefined {
  const { error, suberror, error_codes: codes, trace_id: traceId, claims, error_description: text } = document;
  if (typeof error !== 'string' || error === '') return undefined;
  const readableSuberror = word(suberror);
  const listed = Array.isArray(codes) ? codes.filter((code): code is number => Number.isSafeInteger(code)) : [];
  return {
    error: word(error) ?? 'unreadable',
    numbers: (listed.length > 0 ? listed : numbersIn(text)).slice(0, 10),
    ...(readableSuberror !== undefined && { suberror: readableSuberror }),
    ...(typeof traceId === 'string' && /^[0-9a-f-]{36}$/i.test(traceId) && { traceId }),
    ...(isClaimsChallenge(claims) && { claims }),
  };
}

function word(value: unknown): string | undefined {
  return typeof value === 'string' && /^[A-Za-z0-9_]{1,64}$/.test(value) ? value : undefined;
}

function numbersIn(text: unknown): number[] {
  const number = typeof text === 'string' ? /^AADSTS(\d{4,9})\b/.exec(text)?.[1] : undefined;
  return number === undefined ? [] : [Number(number)];
}

/** Whether it may be sent on as `claims`: a JSON object, and no long one. */
export function isClaimsChallenge(text: unknown): text is string {
  if (typeof text !== 'string' || text.length > 4096) return false;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false; // then there is no challenge to pass on
  }
}

/** Entra's token endpoint said no. */
export class TokenRefusal extends Error {
  override readonly name = 'TokenRefusal';
  readonly response: OAuthErrorResponse;

  constructor(response: OAuthErrorResponse, requestId?: string) {
    super(describe(response, requestId));
    this.response = response;
  }
}

function describe({ error, suberror, numbers, traceId }: OAuthErrorResponse, requestId: string | undefined): string {
  const ids = [traceId && `trace ${traceId}`, requestId && `request ${requestId}`];
  return [error, suberror, ...numbers.map((number) => `AADSTS${number}`), ...ids].filter(Boolean).join(', ');
}
