// Entra's errors: the number decides the OAuth error and the HTTP status; the JSON has Entra's shape to the letter,
// because connectors read it (error_codes are numbers, the timestamp has a space and a Z, the text has line feeds).
// The texts are shortened from Microsoft's reference page; nobody may depend on them, and Microsoft says so.

import { randomUUID } from 'node:crypto';

interface Known {
  error: string;
  text: string;
  suberror?: string;
  status?: number;
}

const grant = (text: string, suberror?: string): Known => ({ error: 'invalid_grant', text, suberror });
const interaction = (text: string, suberror?: string): Known => ({ error: 'interaction_required', text, suberror });
const client = (text: string): Known => ({ error: 'invalid_client', text, status: 401 });
const request = (text: string): Known => ({ error: 'invalid_request', text });
const busy = (text: string): Known => ({ error: 'temporarily_unavailable', text, status: 503 });

export const aadstsTable: Readonly<Record<number, Known>> = {
  16000: grant('User account from this identity provider does not exist in the tenant.'),
  16002: interaction('The session select logic did not meet the requirement of the application.'),
  50005: interaction('User tried to log in from a platform that the access policy does not support.', 'message_only'),
  50011: request('The redirect URI specified in the request does not match those configured for the application.'),
  50020: grant(
    'User account from this identity provider does not exist in the tenant; add it as an external user first.',
  ),
  50033: busy('RetryableError: a transient error not related to the database operations.'),
  50034: grant('The user account does not exist in the directory.'),
  50053: grant('The account is locked: too many attempts with an incorrect user ID or password.'),
  50055: grant('The password is expired.'),
  50057: grant('The user account is disabled.'),
  50058: { error: 'login_required', text: 'A silent sign-in request was sent but no user is signed in.' },
  50059: request('No tenant-identifying information found in the request or implied by any provided credentials.'),
  50072: interaction(
    'Due to a configuration change by your administrator, you must enroll in multi-factor authentication.',
    'basic_action',
  ),
  50074: interaction('Strong authentication is required.', 'basic_action'),
  50076: interaction(
    'Due to a configuration change or a new location, you must use multi-factor authentication.',
    'basic_action',
  ),
  50078: interaction(
    'Presented multi-factor authentication has expired due to policies of your administrator.',
    'basic_action',
  ),
  50079: interaction(
    'Due to a configuration change by your administrator, you must enroll in multi-factor authentication.',
    'basic_action',
  ),
  50087: busy('A transient error has occurred during strong authentication. Please try again.'),
  50089: grant('Authentication failed due to flow token expired.'),
  50097: interaction('Device authentication is required.', 'basic_action'),
  50105: grant(
    'The application blocks users unless they are specifically granted access; this user is not assigned to it.',
  ),
  50131: interaction(
    'Device is not in required device state, or the request was blocked as suspicious.',
    'message_only',
  ),
  50144: grant("The user's Active Directory password has expired."),
  50146: request('This application is required to be configured with an application-specific signing key.'),
  50158: interaction('External security challenge was not satisfied.', 'basic_action'),
  50173: grant('The provided grant has expired due to it being revoked, a fresh auth token is needed.', 'bad_token'),
  50194: request('The application is not configured as multi-tenant. Usage of the /common endpoint is not supported.'),
  50196: busy('The server terminated an operation because it encountered a client request loop.'),
  51004: grant('The user account does not exist in the directory and must be added to it first.'),
  53000: interaction('Device is not in required device state: compliant.', 'message_only'),
  53001: interaction('Device is not in required device state: domain_joined.', 'message_only'),
  53002: interaction('The application used is not an approved application for Conditional Access.', 'message_only'),
  53003: interaction('Access has been blocked by Conditional Access policies.', 'message_only'),
  53004: interaction('User needs to complete the multi-factor authentication registration process.', 'message_only'),
  54005: grant('OAuth2 Authorization code was already redeemed, please retry with a new valid code.'),
  65001: grant('The user or administrator has not consented to use the application.', 'consent_required'),
  65004: { error: 'access_denied', text: 'User declined to consent to access the app.' },
  70000: grant(
    'The provided value for the input parameter is not valid, or the grant is not for this client.',
    'bad_token',
  ),
  70003: { error: 'unsupported_grant_type', text: 'The app requested an unsupported grant type.' },
  70008: grant(
    'The provided authorization code or refresh token has expired. Send a new authorization request.',
    'bad_token',
  ),
  70011: { error: 'invalid_scope', text: 'The provided value for the input parameter scope is not valid.' },
  70021: client('No matching federated identity record found for presented assertion.'),
  70043: grant(
    'The refresh token has expired or is invalid due to sign-in frequency checks by Conditional Access.',
    'token_expired',
  ),
  90002: request('Tenant not found. Check that you have the correct tenant ID and are signing into the correct cloud.'),
  90008: grant(
    'The user or administrator has not consented: the app must require access to Microsoft Graph.',
    'consent_required',
  ),
  90014: request('A required field is missing from the credential or the request.'),
  90023: request('The request is not valid: an unsupported or conflicting parameter value.'),
  90024: busy('RequestBudgetExceededError: a transient error has occurred. Please try again.'),
  90033: busy('A transient error has occurred. Please try again.'),
  90055: {
    error: 'temporarily_unavailable',
    text: 'The server is currently throttling requests of this tenant.',
    status: 429,
  },
  90094: grant('Admin consent is required for the permissions requested by this application.', 'consent_required'),
  160021: interaction('Application requested a user session which does not exist.'),
  500011: { error: 'invalid_resource', text: 'The resource principal was not found in the tenant.' },
  500112: grant('The reply address does not match the reply address provided when requesting the authorization code.'),
  500208: grant('The domain is not a valid login domain for the account type.'),
  500212: grant("The user's administrator set an outbound policy that does not allow the resource tenant."),
  500213: grant("The resource tenant's cross-tenant access policy does not allow this user to access this tenant."),
  500341: grant('The user account has been deleted from the directory.', 'bad_token'),
  501481: grant('The Code_Verifier does not match the code_challenge supplied in the authorization request.'),
  530034: interaction(
    'A delegated administrator was blocked from accessing the tenant due to account risk.',
    'message_only',
  ),
  530035: interaction('Access has been blocked by security defaults.', 'message_only'),
  650052: {
    error: 'unauthorized_client',
    text: 'The app needs access to a service that your organization has not subscribed to or enabled.',
  },
  650056: grant('Misconfigured application: no permissions are listed, or consent is missing.', 'consent_required'),
  650057: {
    error: 'invalid_resource',
    text: "The requested resource is not listed in the permissions of the client's registration.",
  },
  700016: {
    error: 'unauthorized_client',
    text: 'The application was not found in the directory. You may have used the wrong tenant.',
  },
  700024: client('Client assertion is not within its valid time range.'),
  700025: client("Client is public so neither 'client_assertion' nor 'client_secret' should be presented."),
  700027: client('The certificate with identifier used to sign the client assertion is not registered on application.'),
  700054: {
    error: 'unsupported_response_type',
    text: "response_type 'id_token' is not enabled for the application.",
  },
  700082: grant('The refresh token has expired due to inactivity.', 'token_expired'),
  700084: grant(
    'The refresh token was issued to a single page app, whose lifetime is fixed and limited.',
    'token_expired',
  ),
  7000215: client('Invalid client secret provided. Send the client secret value, not the client secret ID.'),
  7000218: client("The request body must contain the following parameter: 'client_assertion' or 'client_secret'."),
  7000222: client('The provided client secret keys are expired. Create new keys for your app.'),
  9002313: grant('Invalid request. Request is malformed or invalid.'),
};

export interface AadstsDetails {
  /** Overrides the table's own. */
  error?: string;
  suberror?: string;
  /** JSON for the next authorization request's `claims`, as a Conditional Access challenge carries it. */
  claims?: string;
  /** Replaces the text after "AADSTSnnnn: ". */
  text?: string;
  status?: number;
}

/** A failure with Entra's number. Thrown by the endpoints, answered by the server as JSON, a page or a redirect. */
export class Aadsts extends Error {
  readonly number: number;
  readonly error: string;
  readonly suberror: string | undefined;
  readonly claims: string | undefined;
  readonly status: number;

  constructor(number: number, details: AadstsDetails = {}) {
    const known = aadstsTable[number] ?? { error: details.error ?? 'server_error', text: 'An error has occurred.' };
    super(`AADSTS${number}: ${details.text ?? known.text}`);
    this.number = number;
    this.error = details.error ?? known.error;
    this.suberror = details.suberror ?? known.suberror;
    this.claims = details.claims;
    this.status = details.status ?? known.status ?? 400;
  }

  /** The error_description: text, trace id, correlation id and time. */
  description({ traceId, correlationId, timestamp }: Trace): string {
    return `${this.message} Trace ID: ${traceId} Correlation ID: ${correlationId} Timestamp: ${timestamp}`;
  }

  toJson(trace: Trace, loginHost: string): Record<string, unknown> {
    return {
      error: this.error,
      error_description: this.description(trace),
      error_codes: [this.number],
      timestamp: trace.timestamp,
      trace_id: trace.traceId,
      correlation_id: trace.correlationId,
      error_uri: `https://${loginHost}/error?code=${this.number}`,
      ...(this.suberror === undefined ? {} : { suberror: this.suberror }),
      ...(this.claims === undefined ? {} : { claims: this.claims }),
    };
  }
}

export interface Trace {
  traceId: string;
  correlationId: string;
  /** "2026-11-23 08:15:30Z" */
  timestamp: string;
}

export function createTrace(nowMs: number, correlationId: string | undefined): Trace {
  const timestamp = `${new Date(nowMs).toISOString().slice(0, 19).replace('T', ' ')}Z`;
  return { traceId: randomUUID(), correlationId: correlationId ?? randomUUID(), timestamp };
}
