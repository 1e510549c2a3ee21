// Every event of the log, by its name, and what it says. docs/errors.md is made of it. What to do stands with it where
// there is something to do.

export const logEvents = {
  'audit.detail_refused':
    'The details of an audit event held what looks like a secret: the event was written without them. Report it.',
  'audit.events_dropped':
    'Activity was not written to the audit trail, since the database did not take it. See to the database.',
  'audit.write_failed':
    'Activity waits to be written to the audit trail: the database does not take it. See to the database.',
  'cli.failed': 'A command of the command line failed unexpectedly.',
  'clock.jumped':
    "The difference between this machine's clock and the database's changed at once. See to time synchronisation.",
  'clock.off': "This machine's clock is too far from the database's. See to time synchronisation.",
  'clock.right': "This machine's clock agrees with the database's again.",
  'config.warning': 'A setting is right and likely to go wrong with software as it is. The warning says why.',
  'database.available': 'The database answers again; `failures` counts what was refused meanwhile.',
  'database.mark_not_kept':
    'What is remembered of the database could not be written beside the master key: an older copy that comes back while no server runs goes unnoticed.',
  'database.mark_not_read': 'What is remembered of the database, beside the master key, could not be read.',
  'database.set_back':
    'The database is, or may be, an older copy of itself: what was spent, revoked or disabled since is not any more. docs/operations.md says what to do.',
  'database.unavailable':
    'The database does not answer, or takes no writes: requests are answered 503. See to the database.',
  'denylist.away': 'Redis is away: revocation reaches verifiers by the status lists alone, within their `ttl`.',
  'denylist.back': 'Redis is back, and was given everything that it missed.',
  'denylist.not_written': 'One revocation did not reach Redis; it is written with the next ones.',
  'entra.clock_off':
    "This machine's clock and Microsoft's are apart: sign-ins will be refused. See to time synchronisation.",
  'entra.consent_declined': 'An administrator of a tenant was asked for consent to this application and gave none.',
  'entra.consent_given': 'An administrator of a tenant gave consent to this application.',
  'entra.credential_expires': 'The credential for Microsoft expires soon: add the next one.',
  'entra.credential_refused': 'Microsoft refused the credential: sign-ins fail. The hint says what to do.',
  'entra.credential_unusable': 'A credential for Microsoft cannot be used as it is; `problem` says why.',
  'entra.front_channel_failed': "Microsoft's sign-out did not end what it should here.",
  'entra.groups_unavailable': "Microsoft Graph did not give somebody's groups: their group roles are those of before.",
  'entra.key_refreshes_not_read':
    "Whether Microsoft's keys are to be fetched anew could not be read from the database.",
  'entra.keys_forgotten': "Microsoft's signing keys are fetched anew, as an administrator asked.",
  'entra.keys_not_loaded': "Microsoft's signing keys could not be fetched; those that are known go on serving.",
  'entra.no_refresh_token': 'Microsoft gave no refresh token: this person signs in again when a check is due.',
  'entra.recheck_unreachable':
    'Microsoft could not be asked whether a session is still good; `goesOn` says whether it goes on.',
  'entra.recheck_failed': 'Microsoft did not say that a session there is still good; `failure` says why.',
  'entra.sign_in_failed': 'A sign-in with Microsoft failed; `failure` and `hint` say why and what to do.',
  'entra.somebody_else':
    'Microsoft answered for another person than was asked for: what they had here ended. Look into it.',
  'key.activated': 'A signing key took over.',
  'key.destroyed': 'The private half of a retired key was deleted.',
  'key.prepared': 'The next signing key was made and published.',
  'keys.applied': 'This process signs with the keys as they are now.',
  'logout.undelivered': 'An application could not be told that a session ended, and is not tried again.',
  'logouts.failed': 'Notices of ended sessions could not be read from the database.',
  'metrics.failed': 'A scrape of the metrics failed.',
  'metrics.keys_not_read': 'The metrics are without the signing keys: the database did not give them.',
  'http.connections_dropped':
    'Connections were closed, since there were too many of them at once, in all or of one network.',
  'jwks.consumers_not_written': 'Who fetches the JWKS could not be written down; it is tried again.',
  'request.refused': 'A page said why a request was refused. `requestId` is the reference on it.',
  'request.failed': 'A request was answered 5xx. `requestId` is the reference on the page that the person saw.',
  'rotation.clock_off':
    "This machine's clock is too far from the database's for keys to be judged by. See to time synchronisation.",
  'rotation.clock_right': "This machine's clock agrees with the database's again.",
  'rotation.failed': 'Signing keys could not be read or rotated; the known one goes on signing.',
  'rotation.recovered': 'Signing keys can be read and rotated again.',
  'rotation.step_taken_elsewhere': 'Another process took the step that was due.',
  'status_lists.failed': 'The status lists could not be renewed; the last ones serve until `servedUntil`.',
  'server.died':
    'Servers on this database died without stopping. Refreshes that they may not have answered may be repeated for a while.',
  'sweep.failed': 'Expired rows could not be deleted; they are tried again.',
  'sweep.resumed': 'Expired rows are deleted again.',
  'sweep.stopped': "No rows are deleted while this machine's clock and the database's do not agree.",
  'worker.died': 'A worker ended that was not told to: its connections are lost. Another one is started in its place.',
  'worker.not_restarted':
    'A worker could not be started in place of one that died; it is tried again, and others serve.',
  'worker.restarted': 'A worker was started in place of one that died.',
} as const;

export type LogEvent = keyof typeof logEvents;
