// signet keys: what signs now, what is next and when, and the steps a person may take before their time. What is safe
// is decided by keys/lifecycle.ts and refused by keys/keyring.ts; --force --reason goes past that, and is audited.

import type { Command } from 'commander';
import type { Act, Keyring, SigningKey } from '../keys/keyring.ts';
import { nextStep, readyAt, spentAt, type Policy, type Step } from '../keys/lifecycle.ts';
import type { Store } from '../server.ts';
import { usageError } from './failure.ts';
import { moment, span, table } from './layout.ts';
import type { Session } from './session.ts';

interface Forced {
  force?: boolean;
  reason?: string;
}

const noticed = 'A running server follows within seconds.';

export function keyCommands(program: Command, session: Session): void {
  const keys = program.command('keys').description('the signing keys and their life cycle');

  keys.command('list')
    .description('show every key: its state and age, and its next step and when')
    .action(() => session.withStore((store) => list(session, store)));

  keys.command('prepare')
    .description('make the next key and publish it; it does not sign yet')
    .action(() => session.withStore(async ({ keyring, policy }) => {
      const kid = await keyring.prepare({ actor: session.actor });
      const ready = await readyFrom(keyring, kid, policy);
      session.answer({ kid, state: 'prepared', signsFrom: new Date(ready) },
        `key ${kid} is prepared and published; it may sign from ${moment(ready)}\n${noticed}`);
    }));

  unsafe(keys.command('activate')
    .description('sign with a prepared key from now on; the key before it is retired')
    .argument('<kid>', 'the prepared key'))
    .action((kid: string, forced: Forced) => session.withStore(async ({ keyring }) => {
      await keyring.activate(kid, act(session, forced));
      session.answer({ kid, state: 'active' }, `key ${kid} signs from now on\n${noticed}`);
    }));

  unsafe(keys.command('rotate')
    .description('hand over to the next key; where none is prepared, prepare it and say when it may sign'))
    .action((forced: Forced) => session.withStore((store) => rotate(session, store, act(session, forced))));

  unsafe(keys.command('retire')
    .description('end the signing of the active key; the prepared key takes over')
    .argument('<kid>', 'the active key'))
    .action((kid: string, forced: Forced) => session.withStore(async ({ keyring }) => {
      await keyring.retire(kid, act(session, forced));
      session.answer({ kid, state: 'retired' },
        `key ${kid} is retired: what it signed is still accepted\n${noticed}`);
    }));

  unsafe(keys.command('destroy')
    .description('take a retired key out of the JWKS')
    .argument('<kid>', 'the retired key'))
    .action((kid: string, forced: Forced) => session.withStore(async ({ keyring }) => {
      await keyring.destroy(kid, act(session, forced));
      session.answer({ kid, state: 'destroyed' },
        `key ${kid} is destroyed: what it signed is no longer accepted\n${noticed}`);
    }));

  keys.command('revoke')
    .description('the emergency: take a key out of the JWKS at once; where it was active, another signs at once')
    .argument('<kid>', 'a key that is prepared, active or retired')
    .requiredOption('--reason <text>', 'why; kept in the audit trail')
    .action((kid: string, { reason }: { reason: string }) => session.withStore(async ({ keyring }) => {
      await keyring.revoke(kid, reason, { actor: session.actor });
      const active = (await keyring.list()).find(({ state }) => state === 'active');
      session.answer({ kid, state: 'revoked', reason, activeKid: active?.kid ?? null },
        `key ${kid} is revoked${active ? `; ${active.kid} signs` : ''}\n${noticed} `
        + 'Verifiers follow when they fetch the JWKS anew.');
    }));

  keys.command('rekey')
    .description('seal every private half anew, under the present master key; previousMasterKeyFile names the old one')
    .action(() => session.withStore(async ({ keyring }) => {
      const moved = await keyring.rekey({ actor: session.actor });
      session.answer({ rekeyed: moved }, moved === 0
        ? 'nothing to do: every private half is sealed under the present master key'
        : `${moved} ${moved === 1 ? 'key is' : 'keys are'} sealed anew; when every server runs with the present master `
          + 'key, remove keys.previousMasterKeyFile');
    }));
}

async function list(session: Session, { keyring, policy, db }: Store): Promise<void> {
  const [all, now] = [await keyring.list(), await db.now()];
  const step = nextStep(all, now, policy);
  const rows = all.map((key) => {
    const [since, next] = [sinceOf(key), nextOf(key, { step, now, policy })];
    const outlook = next ? `${next.becomes} from ${moment(next.at)}` : key.revokedReason ?? '';
    return [key.kid, key.state, moment(since), span(now - since), outlook];
  });
  const document = {
    keys: all.map((key) => {
      const next = nextOf(key, { step, now, policy });
      return {
        ...dated(key), ageSeconds: Math.floor((now - sinceOf(key)) / 1000),
        next: next ? { becomes: next.becomes, at: new Date(next.at) } : null,
      };
    }),
    next: step.do === 'wait' ? { step: step.next, at: new Date(step.until) } : { step: step.do, at: new Date(now) },
  };
  session.answer(document, all.length === 0
    ? 'There are no keys yet. The first "signet serve" makes one.'
    : `${table(['KID', 'STATE', 'SINCE', 'AGE', 'NEXT'], rows)}\n\n${planText(step, now)}`);
}

async function rotate(session: Session, { keyring, policy }: Store, step: Act): Promise<void> {
  const before = await keyring.list();
  const active = before.find(({ state }) => state === 'active');
  const prepared = before.find(({ state }) => state === 'prepared');
  const kid = prepared?.kid ?? await keyring.prepare(step);
  if (active && !prepared && step.force === undefined) {
    const ready = await readyFrom(keyring, kid, policy);
    return session.answer({ kid, state: 'prepared', signsFrom: new Date(ready) },
      `key ${kid} is prepared and published; verifiers need until ${moment(ready)} to fetch it\n`
      + 'Run signet keys rotate again then.');
  }
  await keyring.activate(kid, step);
  session.answer({ kid, state: 'active', previousKid: active?.kid ?? null },
    `key ${kid} signs from now on${active ? `; ${active.kid} is retired` : ''}\n${noticed}`);
}

/** From when a prepared key may sign; where nothing signs, there is nothing to wait for. */
async function readyFrom(keyring: Keyring, kid: string, policy: Policy): Promise<number> {
  const all = await keyring.list();
  const key = all.find((candidate) => candidate.kid === kid)!;
  return all.some(({ state }) => state === 'active') ? readyAt(key, policy) : key.preparedAt;
}

function act({ actor }: Session, { force, reason }: Forced): Act {
  if (!force && reason === undefined) return { actor };
  if (force && reason?.trim()) return { actor, force: reason };
  throw usageError('--force and --reason go together', 'say why: --force --reason "…"; it is kept in the audit trail');
}

function unsafe(command: Command): Command {
  return command
    .option('--force', 'do it although verifiers will refuse good tokens; needs --reason')
    .option('--reason <text>', 'why it is forced; kept in the audit trail');
}

function sinceOf(key: SigningKey): number {
  return key.revokedAt ?? key.destroyedAt ?? key.retiredAt ?? key.activatedAt ?? key.preparedAt;
}

interface Change {
  becomes: 'active' | 'retired' | 'destroyed';
  at: number;
}

interface Outlook {
  step: Step;
  now: number;
  policy: Policy;
}

function nextOf(key: SigningKey, { step, now, policy }: Outlook): Change | undefined {
  if (key.state === 'prepared') {
    if (step.do === 'activate') return { becomes: 'active', at: now };
    const isNext = step.do === 'wait' && step.next === 'activate';
    return { becomes: 'active', at: isNext ? step.until : readyAt(key, policy) };
  }
  if (key.state === 'active') return { becomes: 'retired', at: key.activatedAt! + policy.rotateEvery * 1000 };
  if (key.state === 'retired') {
    return { becomes: 'destroyed', at: spentAt({ ...key, retiredAt: key.retiredAt! }, policy) };
  }
  return undefined;
}

const stepNames = {
  bootstrap: 'make the first key', prepare: 'prepare the next key', activate: 'sign with the prepared key',
  destroy: 'destroy the oldest retired key',
};

function planText(step: Step, now: number): string {
  if (step.do !== 'wait') return `Next: ${stepNames[step.do]}, due now; a running server does it.`;
  const when = `at ${moment(step.until)} (in ${span(step.until - now)})`;
  return `Next: ${stepNames[step.next]}, ${when}; a running server does it.`;
}

/** Moments as ISO dates rather than milliseconds. */
function dated({ preparedAt, activatedAt, retiredAt, destroyedAt, revokedAt, longestLife, ...key }: SigningKey) {
  const date = (at: number | null) => (at === null ? null : new Date(at));
  return {
    ...key, preparedAt: date(preparedAt), activatedAt: date(activatedAt), retiredAt: date(retiredAt),
    destroyedAt: date(destroyedAt), revokedAt: date(revokedAt), longestLifeSeconds: longestLife,
  };
}
