// signet keys: what signs now, what is next and when, and the steps a person may take before their time. What they do
// is keys/operations.ts, as for the admin API; here are the words. --force --reason goes past a refusal: audited.

import type { Command } from 'commander';
import type { Actor } from '../audit/actor.ts';
import { AppError, isAppError } from '../errors.ts';
import type { Moment, VerifierImpact } from '../keys/dry-run.ts';
import type { Forced, KeyOperations, RetiredKey, RevokedKey, RotatedKey, RotationPlan } from '../keys/operations.ts';
import { forceOf } from '../keys/operations.ts';
import type { JwksClientsStatus, KeysStatus } from '../keys/status.ts';
import { usageError } from './failure.ts';
import type { CliSession } from './session.ts';
import { moment, span, table } from './tables.ts';

interface Rotation extends Forced {
  dryRun?: boolean;
}

interface Emergency {
  reason: string;
  cutSessions?: boolean;
  force?: boolean;
}

const noticed = 'A running server follows within seconds.';

export function keyCommands(program: Command, session: CliSession): void {
  const keys = program.command('keys').description('the signing keys and their life cycle');
  const withKeys = (work: (operations: KeyOperations) => Promise<void>) =>
    session.withStore((store) => work(store.keys));

  keys
    .command('list')
    .description('show every key: its state, age and next step, and who has the newest one')
    .action(() =>
      withKeys(async ({ status }) => {
        const shown = await status();
        session.answer(shown, listText(shown));
      }),
    );

  keys
    .command('consumers')
    .description('show who fetched the newest key, and who did not')
    .option('--forget [name]', 'forget those counted under this name; without one, all that strangers say')
    .action(({ forget }: { forget?: string | true }) =>
      withKeys(async ({ jwksClients, forgetJwksClients }) => {
        if (forget !== undefined) {
          const done = await forgetJwksClients(forget === true ? undefined : forget, { actor: session.actor });
          if (forget !== true && done.forgotten === 0) {
            throw new AppError(
              'jwks_client_unknown',
              404,
              `nobody who fetched the JWKS is counted under the name ${forget}`,
              {
                hint: 'signet keys consumers shows the names, in the column CONSUMER',
              },
            );
          }
          return session.answer(done, `${done.forgotten} forgotten; who comes again is counted anew`);
        }
        const shown = await jwksClients();
        session.answer(shown, jwksClientsText(shown));
      }),
    );

  keys
    .command('prepare')
    .description('make the next key and publish it; it does not sign yet')
    .action(() =>
      withKeys(async ({ prepare }) => {
        const prepared = await prepare({ actor: session.actor });
        const { kid, signsFrom } = prepared;
        session.answer(
          prepared,
          `key ${kid} is prepared and published; it may sign from ${moment(signsFrom)}\n${noticed}`,
        );
      }),
    );

  unsafe(
    keys
      .command('activate')
      .description('sign with a prepared key from now on; the key before it is retired')
      .argument('<kid>', 'the prepared key'),
  ).action((kid: string, forced: Forced) =>
    withKeys(async ({ activate }) => {
      session.answer(await activate(kid, act(session, forced)), `key ${kid} signs from now on\n${noticed}`);
    }),
  );

  unsafe(
    keys
      .command('rotate')
      .description('hand over to the next key; where none is prepared, prepare it and say when it may sign')
      .option('--dry-run', 'change nothing; show what would happen, and which verifiers would refuse a good token'),
  ).action(({ dryRun, ...forced }: Rotation) =>
    withKeys(async ({ planRotation, rotate }) => {
      if (dryRun) {
        const plan = await planRotation({ force: forced.force ?? false });
        return session.answer(plan, planText(plan));
      }
      const rotated = await rotate(act(session, forced));
      session.answer(rotated, rotatedText(rotated));
    }),
  );

  unsafe(
    keys
      .command('retire')
      .description('end the signing of the active key; the prepared key takes over')
      .argument('<kid>', 'the active key'),
  ).action((kid: string, forced: Forced) =>
    withKeys(async ({ retire }) => {
      const retired = await retire(kid, act(session, forced));
      session.answer(retired, retiredText(retired));
    }),
  );

  unsafe(
    keys.command('destroy').description('take a retired key out of the JWKS').argument('<kid>', 'the retired key'),
  ).action((kid: string, forced: Forced) =>
    withKeys(async ({ destroy }) => {
      session.answer(
        await destroy(kid, act(session, forced)),
        `key ${kid} is destroyed: what it signed is no longer accepted\n${noticed}`,
      );
    }),
  );

  keys
    .command('revoke')
    .description('the emergency: take a key out of the JWKS at once; where it was active, another signs at once')
    .argument('<kid>', 'a key that is prepared, active or retired')
    .requiredOption('--reason <text>', 'why; kept in the audit trail')
    .option('--cut-sessions', 'also end every session and refresh token: everybody signs in again')
    .option('--force', 'also where the master key does not open the keys; a prepared one that is lost goes, too')
    .action((kid: string, { reason, cutSessions, force }: Emergency) =>
      withKeys(async ({ revoke }) => {
        const by = { actor: session.actor, force: force ? reason : undefined };
        const revoked = await revoke(kid, reason, by, { cutSessions });
        session.answer(revoked, revokedText(revoked));
      }),
    );

  keys
    .command('rekey')
    .description('seal every private half anew, under the present master key; previousMasterKeyFile names the old one')
    .action(() =>
      withKeys(async ({ rekey }) => {
        const done = await rekey({ actor: session.actor });
        const { rekeyed } = done;
        session.answer(
          done,
          rekeyed === 0
            ? 'nothing to do: every private half is sealed under the present master key'
            : `${rekeyed} ${rekeyed === 1 ? 'key is' : 'keys are'} sealed anew; when every server runs with the present ` +
                'master key, remove keys.previousMasterKeyFile',
        );
      }),
    );
}

function act({ actor }: CliSession, { force, reason }: Forced): Actor {
  try {
    return { actor, force: forceOf({ force, reason }) };
  } catch (error) {
    if (!isAppError(error, 'reason_missing')) throw error;
    const together = force === true && reason !== undefined;
    throw usageError(
      together ? `--reason: ${error.message}` : '--force and --reason go together',
      'say why: --force --reason "…"; it is kept in the audit trail',
    );
  }
}

function unsafe(command: Command): Command {
  return command
    .option('--force', 'do it although verifiers will refuse good tokens; needs --reason')
    .option('--reason <text>', 'why it is forced; kept in the audit trail');
}

const stepNames: Record<KeysStatus['next']['step'], string> = {
  bootstrap: 'make the first key',
  prepare: 'prepare the next key',
  activate: 'sign with the prepared key',
  destroy: 'destroy the oldest retired key',
};

function listText({ keys, next, propagation }: KeysStatus): string {
  if (keys.length === 0) return 'There are no keys yet. The first "signet serve" makes one.';
  const rows = keys.map((key) => [
    key.kid,
    key.state,
    moment(key.since),
    span(key.ageSeconds * 1000),
    key.next ? `${key.next.becomes} from ${moment(key.next.at)}` : (key.revokedReason ?? ''),
  ]);
  const wait = next.at.getTime() - Date.now();
  const when = wait <= 0 ? 'due now' : `at ${moment(next.at)} (in ${span(wait)})`;
  return (
    `${table(['KID', 'STATE', 'SINCE', 'AGE', 'NEXT'], rows)}

Next: ${stepNames[next.step]}, ${when}; a running server does it.` +
    (propagation ? `\n${propagationText(propagation)}` : '')
  );
}

/** Who has the newest key, in a line or two; the whole of it is `signet keys consumers`. */
function propagationText({ seenBy, unseenBy }: NonNullable<KeysStatus['propagation']>): string {
  const nobody = 'Nobody has fetched the newest key yet.';
  const has = seenBy.length > 0 ? `Who has the newest key: ${briefly(seenBy)}.` : nobody;
  return unseenBy.length > 0 ? `${has}\nWho has not: ${briefly(unseenBy)}. See: signet keys consumers` : has;
}

function briefly(names: readonly string[], atMost = 5): string {
  const left = names.length - atMost;
  return left > 0 ? `${names.slice(0, atMost).join(', ')} and ${left} more` : names.join(', ');
}

function rotatedText(rotated: RotatedKey): string {
  if (rotated.state === 'prepared') {
    const { kid, signsFrom } = rotated;
    return (
      `key ${kid} is prepared and published; verifiers need until ${moment(signsFrom)} to fetch it\n` +
      'Run signet keys rotate again then.'
    );
  }
  const { kid, previousKid } = rotated;
  return `key ${kid} signs from now on${previousKid ? `; ${previousKid} is retired` : ''}\n${noticed}`;
}

function jwksClientsText({ key, ...readiness }: JwksClientsStatus): string {
  if (!key) return 'There are no keys yet. The first "signet serve" makes one.';
  const rows = (
    [
      ['yes', readiness.seenBy],
      ['NO', readiness.unseenBy],
      ['silent', readiness.silent],
    ] as const
  ).flatMap(([has, consumers]) =>
    consumers.map(({ name, address, declared, fetches, lastSeenAt }) => [
      has,
      name,
      address,
      declared ? 'declared' : 'hearsay',
      String(fetches),
      moment(lastSeenAt),
    ]),
  );
  const heading = `Key ${key.kid} (${key.state}) is published since ${moment(key.publishedAt)}.`;
  if (rows.length === 0) return `${heading}\nNobody has fetched the JWKS yet.`;
  return `${heading}

${table(['HAS IT', 'CONSUMER', 'ADDRESS', 'NETWORK', 'FETCHES', 'LAST SEEN'], rows)}

hearsay: not from keys.jwksClientNetworks; anybody can claim any name, so no key waits for it.
silent: came once, or stopped coming; nothing says that it still verifies tokens.`;
}

function retiredText({ kid, activeKid, alsoRevokedKid }: RetiredKey): string {
  return (
    `key ${kid} is retired: what it signed is still accepted; ${activeKid} signs\n` +
    `${alsoRevokedText(alsoRevokedKid)}${noticed}`
  );
}

function revokedText(revoked: RevokedKey): string {
  const { kid, activeKid, alsoRevokedKid, unopenedKid, sessionsCut, verifiersFollowBy, knownKeysDroppedBy } = revoked;
  if (unopenedKid) {
    return (
      `key ${kid} is revoked. Nothing signs: the master key does not open the active key. Give that up as well:\n` +
      `signet keys retire ${unopenedKid} --force --reason "…"`
    );
  }
  return (
    `key ${kid} is revoked${activeKid ? `; ${activeKid} signs` : ''}\n${alsoRevokedText(alsoRevokedKid)}` +
    `${sessionsCut === null ? '' : 'Every session and refresh token was ended.\n'}${noticed} ` +
    `Verifiers that obey our max-age follow by ${moment(verifiersFollowBy)}.\n${keptForEverText(knownKeysDroppedBy)}`
  );
}

function keptForEverText(droppedBy: Date | null): string {
  const who =
    'Verifiers that keep a key for ever and fetch for an unknown one alone (go-oidc, zitadel/oidc,\n' +
    'aws-jwt-verify, jwks-rsa of Java, Authlib’s client)';
  return droppedBy === null
    ? `${who} follow at the first token of the key that signs now.`
    : `${who} believe the revoked key until a key signs\nthat they do not know: by itself at ${moment(droppedBy)}. ` +
        'Restart those services now.';
}

function alsoRevokedText(kid: string | null): string {
  return kid ? `The prepared key ${kid} does not open under this master key, and is revoked as well.\n` : '';
}

const eventNames = {
  published: 'is published',
  signs: 'signs',
  retired: 'is retired: it verifies, and signs no more',
  standby: 'is published, and is the next to sign',
  leaves: 'leaves the JWKS: nothing that it signed is valid any more',
};

function planText({ timeline, verifiers, unseenBy }: RotationPlan): string {
  const unmade = (event: Moment['event']) => (event === 'standby' ? '(the key after it)' : '(a new key)');
  const events = timeline.map(({ at, kid, event }) => [moment(at), kid ?? unmade(event), eventNames[event]]);
  const refusal = ({ kid, from, until }: VerifierImpact['refuses'][number]) =>
    `${kid ?? 'the new key'} from ${moment(from)} until ${until ? moment(until) : 'it is restarted'}`;
  const habits = verifiers.map(({ verifier, refuses }) => [verifier, refuses.map(refusal).join(', ') || 'nothing']);
  const missing = unseenBy.length > 0 ? `\n\nNot yet fetched by: ${unseenBy.join(', ')}` : '';
  return `Nothing was changed. This would happen:

${table(['WHEN', 'KEY', 'EVENT'], events)}

What verifiers would refuse of good tokens, by how they cache a JWKS:

${table(['VERIFIER', 'WOULD REFUSE'], habits)}${missing}`;
}
