// What may arrive at the callback: a code, an error, or the return of an administrator who approved the application.
// Everything else is refused before anything is looked up.

import { AppError } from '../errors.ts';
import { endpoints } from '../web/endpoints.ts';
import { type OAuthErrorResponse, readErrorResponse } from './errors.ts';

export const entraCallbackPath = endpoints.entra_callback.path;
export const resumePath = endpoints.entra_resume.path;

/** What belongs to a sign-in, which its state names. */
export type SignInReply =
  | { kind: 'code'; state: string; code: string }
  | { kind: 'refused'; state: string; refusal: OAuthErrorResponse };

export type Callback = SignInReply | { kind: 'approval'; outcome: 'consent_given' | 'consent_declined' };

const longestCode = 8192;
const longestState = 128;

/** @throws {AppError} entra_malformed_callback (400) */
export function readCallback(parameters: URLSearchParams | ReadonlyMap<string, string>): Callback {
  const given = unique(parameters);
  const { code, error, state = '' } = given;
  if (code !== undefined && error !== undefined) throw malformed('It carries both a code and an error.');
  if (code === undefined && error === undefined && given['admin_consent'] !== undefined) {
    return { kind: 'approval', outcome: 'consent_given' };
  }
  if (isDeclinedApproval(given)) return { kind: 'approval', outcome: 'consent_declined' };
  if (state === '' || state.length > longestState) throw malformed('It belongs to no sign-in.');
  if (error !== undefined) return { kind: 'refused', state, refusal: refusalFrom(given, error) };
  if (code === undefined || code === '') throw malformed('It carries neither a code nor an error.');
  if (code.length > longestCode) throw malformed('Its code is too long.');
  return { kind: 'code', state, code };
}

/** An administrator who was to approve the application did not. That page of Microsoft's knows no sign-in of ours. */
function isDeclinedApproval({ error, state = '', ...given }: Record<string, string>): boolean {
  if (error === undefined || state !== '') return false;
  return given['admin_consent'] !== undefined || error === 'permission_denied' || error === 'access_denied';
}

function refusalFrom(given: Record<string, string>, error: string): OAuthErrorResponse {
  // Entra's own word for "the person pressed Cancel", which comes with various errors.
  if (given['error_subcode'] === 'cancel') return { error: 'access_denied', numbers: [65004] };
  const { error_description, claims } = given;
  return readErrorResponse({ error, error_description, claims }) ?? { error: 'unreadable', numbers: [] };
}

/** Two readers of a repeated parameter might each take another one (RFC 6749 §3.1). */
function unique(parameters: URLSearchParams | ReadonlyMap<string, string>): Record<string, string> {
  const given: Record<string, string> = Object.create(null);
  for (const [name, value] of parameters) {
    if (name in given) throw malformed('A parameter stands in it twice.');
    given[name] = value;
  }
  return given;
}

function malformed(reason: string): AppError {
  return new AppError(
    'entra_malformed_callback',
    400,
    `The answer of the sign-in cannot be read. ${reason} Go back to the application and start again.`,
  );
}
