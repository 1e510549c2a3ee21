// Scopes say what the application may do, roles what the person may do. Asking for several means all of them.

import type { AccessToken } from './claims.ts';
import { VerificationError } from './errors.ts';
import { optionsCheck } from './known-options.ts';

export interface Requirements {
  /** Scope or scopes the token must have, all of them. */
  scope?: string | readonly string[];
  /** Role or roles the person must have, all of them. */
  role?: string | readonly string[];
}

interface Privileges {
  scopes: readonly string[];
  roles: readonly string[];
}

const checkRequirements = optionsCheck<Requirements>('what is required', {
  scope: 'checked elsewhere',
  role: 'checked elsewhere',
});

/** @throws {TypeError} when a name is empty or could not be a scope, so that a slip never asks for nothing */
export function readRequirements(required: Requirements): Privileges {
  checkRequirements(required);
  const { scope = [], role = [] } = required;
  return { scopes: names('scope', scope), roles: names('role', role) };
}

/** @throws {VerificationError} `insufficient_scope`, `insufficient_role` */
export function requirePrivileges(token: AccessToken, { scopes, roles }: Privileges): void {
  if (!scopes.every((name) => token.scopes.includes(name))) {
    throw new VerificationError('insufficient_scope', 'the token does not have the scope this needs', { scopes });
  }
  if (!roles.every((name) => token.roles.includes(name))) {
    throw new VerificationError('insufficient_role', 'the person does not have the role this needs');
  }
}

// RFC 6749 §3.3: the characters of a scope. Roles are held to the same, less strictly: any text.
function names(kind: 'scope' | 'role', value: string | readonly string[]): readonly string[] {
  const list = Array.isArray(value) ? [...value] : [value];
  const allowed = kind === 'scope' ? /^[\x21\x23-\x5b\x5d-\x7e]+$/ : /./;
  const wrong = list.find((name) => typeof name !== 'string' || !allowed.test(name));
  if (wrong === undefined && list.every((name) => name !== undefined)) return list;
  throw new TypeError(`${kind} must be one ${kind} or a list of them, each without spaces or quotes`);
}
