// Every event of the audit trail, by the name that `signet audit list --event` takes, and what it says. docs/errors.md is
// made of it. Events that a former release wrote stay here: their rows are still in the trail.

export const auditEvents = {
  'account.created': 'An account was created, by an administrator or at the first sign-in with Microsoft.',
  'account.disabled': 'An account was disabled: its grants and sessions ended with it.',
  'account.email_verified': "It was set whether an account's e-mail address is vouched for.",
  'account.enabled': 'An account was enabled again.',
  'account.mapped_roles_set': "Roles that follow from Microsoft's claims changed.",
  'account.names_set': 'The names of a person were set.',
  'account.password_set': 'A password was set, by its person or by an administrator.',
  'account.roles_set': 'Roles were given or taken away.',
  'account.signed_out': 'A person was signed out everywhere.',
  'admin.refused': 'The admin API refused a token or an act.',
  'application.disabled': 'An application was disabled: its grants ended with it.',
  'application.enabled': 'An application was enabled again.',
  'application.registered': 'An application was added.',
  'application.secret_renewed': 'An application has a new client secret.',
  'authorization.granted': 'An application was given a code.',
  'authorization.refused': 'An authorization request was refused; `detail` says why.',
  'consent.declined': 'A person refused an application what it asked for.',
  'consent.given': 'A person allowed an application what it asked for.',
  'database.set_back':
    'The database was found to be an older copy of itself, or perhaps one: a new status list was begun. docs/operations.md says what to do.',
  'entra.keys_refreshed': "Every server was told to fetch Microsoft's signing keys anew.",
  'grant.revoked': 'A grant ended before its time: every token of it is revoked.',
  'identity.linked': 'An account was linked to a person at Microsoft.',
  'introspection.refused': 'A request for introspection was refused.',
  'key.activated': 'A signing key took over.',
  'key.destroyed': 'The private half of a retired key was deleted, and the key left the JWKS.',
  'key.incident': 'Keys were replaced because the master key was lost.',
  'key.life_raised': 'Something signed by a key may now live longer, so that it stays published longer.',
  'key.prepared': 'The next signing key was made and published.',
  'key.clients_forgotten': 'What was counted of who fetches the JWKS was forgotten: of one name, or all hearsay.',
  'key.rekeyed': 'The signing keys were sealed under a new master key.',
  'key.retired': 'A signing key stopped signing; it still verifies.',
  'key.revoked': 'A signing key was revoked: nothing that it signed is good any more.',
  'logout.delivered': 'An application was told that a session ended.',
  'logout.undelivered': 'An application could not be told that a session ended, and is not tried again.',
  'request.refused':
    'A page said why a request was refused, before it came to what the other events tell of: a form from another site, or one that cannot be read. An address with nothing at it has a log line alone.',
  'revocation.refused': 'A request for revocation was refused.',
  'session.end_refused': 'A sign-out was refused.',
  'session.ended': 'A session ended by a sign-out.',
  'signin.forged': 'A sign-in with Microsoft came back with what Microsoft did not make. Look into it.',
  'signin.refused': 'A sign-in failed; `detail.reason` says why.',
  'signin.succeeded': 'A person signed in.',
  'token.issued': 'Tokens were issued.',
  'token.issued_again': 'A repeated refresh was given the answer of the first one.',
  'token.issued_elsewhere':
    'The same, asked from another network than the first one: somebody else may have the token.',
  'token.refused': 'A request at the token endpoint was refused.',
  'upstream.ended': "Microsoft said that a person's session there is over: what it carried here ended.",
  'userinfo.refused': 'A request for userinfo was refused.',
} as const;

export type AuditEventName = keyof typeof auditEvents;

export interface AuditEvent {
  event: AuditEventName;
  /** Who acted: a person's or client's id, 'cli', 'schedule'. */
  actor?: string | undefined;
  /** Whom or what it was done to: an account id, a kid. */
  subject?: string | undefined;
  clientId?: string | undefined;
  requestId?: string | undefined;
  address?: string | undefined;
  /** Further facts. Never a secret: see `secretIn`. */
  detail?: Record<string, unknown> | undefined;
}
