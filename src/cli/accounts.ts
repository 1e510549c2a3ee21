// signet accounts: the people who sign in. A password is read from standard input, or made here and printed once.

import type { Command } from 'commander';
import { type Account, displayNameOf } from '../accounts/account.ts';
import type { Owner } from '../signin/new-password.ts';
import { oneTimePassword } from '../signin/password.ts';
import type { Store } from '../store.ts';
import { accountOf, whom } from './account.ts';
import { usageError } from './failure.ts';
import type { CliSession } from './session.ts';
import { facts, moment, table } from './tables.ts';

export function accountCommands(program: Command, session: CliSession): void {
  const accounts = program.command('accounts').description('the people who sign in');

  accounts
    .command('add')
    .description('create an account; without --password-stdin a one-time password is printed, once')
    .argument('<email>', 'address to sign in with')
    .option('--name <name>', 'name for display')
    .option('--given-name <name>', 'given name (given_name)')
    .option('--family-name <name>', 'family name (family_name)')
    .option('--role <role>', 'a role, such as admin; repeat for several', repeated)
    .option('--unverified', 'do not vouch that the address is this person’s: no application is told of it then')
    .option('--password-stdin', 'read the password from standard input')
    .action(async (email: string, given: NewPerson) => {
      const chosen = await choosePassword(session, given.passwordStdin);
      const account = await session.withStore(async (store) =>
        store.accounts.create(
          {
            email,
            emailVerified: !given.unverified,
            ...namesIn(given),
            roles: unique(given.role ?? []),
            passwordHash: await hashOf(store, chosen, { email, name: given.name }),
            passwordMustChange: chosen.oneTime,
          },
          session.actor,
        ),
      );
      answerWithPassword(session, `account ${account.email} added`, account, chosen);
    });

  accounts
    .command('list')
    .description('show all accounts')
    .action(async () => {
      const all = await session.withStore((store) => store.accounts.list());
      const rows = all.map((account) => [
        displayNameOf(account),
        account.name ?? '',
        account.roles.join(', '),
        stateOf(account),
        account.lastSignInAt ? moment(account.lastSignInAt) : 'never',
        account.id,
      ]);
      session.answer(
        { accounts: all.map(shown) },
        all.length === 0
          ? 'There are no accounts yet. The first "signet serve" makes an administrator; "signet accounts add" others.'
          : table(['E-MAIL', 'NAME', 'ROLES', 'STATE', 'LAST SIGN-IN', 'ID'], rows),
      );
    });

  accounts
    .command('disable')
    .description('keep a person from signing in')
    .argument('<account>', whom)
    .action((who: string) => setDisabled(session, who, true));

  accounts
    .command('enable')
    .description('let a disabled person sign in again')
    .argument('<account>', whom)
    .action((who: string) => setDisabled(session, who, false));

  accounts
    .command('names')
    .description('set what a person is called; "" takes a name away. Microsoft has the names of who signs in there')
    .argument('<account>', whom)
    .option('--name <name>', 'name for display')
    .option('--given-name <name>', 'given name (given_name)')
    .option('--family-name <name>', 'family name (family_name)')
    .action(async (who: string, given: GivenNames) => {
      const names = namesIn(given);
      if (Object.values(names).every((name) => name === undefined)) {
        throw usageError('no name is given', 'write --name, --given-name or --family-name');
      }
      const account = await changed(session, who, (store, id) => store.accounts.setNames(id, names, session.actor));
      session.answer({ account: shown(account) }, `${displayNameOf(account)} is called ${account.name ?? 'nothing'}`);
    });

  accounts
    .command('verify-email')
    .description('vouch that the address of an account is this person’s: applications are told of no other')
    .argument('<account>', whom)
    .option('--undo', 'vouch no longer')
    .action(async (who: string, { undo = false }: { undo?: boolean }) => {
      const account = await changed(session, who, (store, id) =>
        store.accounts.setEmailVerified(id, !undo, session.actor),
      );
      session.answer(
        { account: shown(account) },
        `the address ${displayNameOf(account)} is ${undo ? 'no longer vouched for' : 'vouched for'}`,
      );
    });

  accounts
    .command('sign-out')
    .description('end every session and token of a person; they may sign in again')
    .argument('<account>', whom)
    .action((who: string) =>
      session.withStore(async (store) => {
        const account = await accountOf(store, who);
        const grantsEnded = await store.accounts.signOut(account.id, session.actor);
        session.answer(
          { account: shown(account), grantsEnded },
          `${displayNameOf(account)} is signed out everywhere (${grantsEnded} ${grantsEnded === 1 ? 'grant' : 'grants'} ended)`,
        );
      }),
    );

  accounts
    .command('password')
    .description('set a password; without --password-stdin a one-time password is printed, once')
    .argument('<account>', whom)
    .option('--password-stdin', 'read the password from standard input')
    .action(async (who: string, given: { passwordStdin?: boolean }) => {
      const chosen = await choosePassword(session, given.passwordStdin);
      const account = await session.withStore(async (store) => {
        const before = await accountOf(store, who);
        const { id } = before;
        const passwordHash = await hashOf(store, chosen, before);
        await store.accounts.setPassword(id, passwordHash, { mustChange: chosen.oneTime, actor: session.actor });
        return accountOf(store, id);
      });
      answerWithPassword(session, `password of ${displayNameOf(account)} set`, account, chosen);
    });

  accounts
    .command('roles')
    .description('set the roles of a person, in place of those they have')
    .argument('<account>', whom)
    .requiredOption('--set <roles>', 'roles, separated by commas; "" for none')
    .action(async (who: string, given: { set: string }) => {
      const roles = unique(
        given.set
          .split(',')
          .map((role) => role.trim())
          .filter((role) => role !== ''),
      );
      const account = await changed(session, who, (store, id) => store.accounts.setRoles(id, roles, session.actor));
      session.answer(
        { account: shown(account) },
        `${displayNameOf(account)} now has ${roles.length > 0 ? `the roles ${roles.join(', ')}` : 'no roles'}`,
      );
    });
}

async function setDisabled(session: CliSession, who: string, disabled: boolean): Promise<void> {
  const account = await changed(session, who, (store, id) => store.accounts.setDisabled(id, disabled, session.actor));
  session.answer(
    { account: shown(account) },
    disabled
      ? `${displayNameOf(account)} is disabled and can no longer sign in`
      : `${displayNameOf(account)} is enabled and can sign in`,
  );
}

function changed(
  session: CliSession,
  who: string,
  change: (store: Store, id: string) => Promise<void>,
): Promise<Account> {
  return session.withStore(async (store) => {
    const { id } = await accountOf(store, who);
    await change(store, id);
    return accountOf(store, id);
  });
}

interface GivenNames {
  name?: string;
  givenName?: string;
  familyName?: string;
}

const namesIn = ({ name, givenName, familyName }: GivenNames) => ({ name, givenName, familyName });

interface NewPerson extends GivenNames {
  role?: string[];
  unverified?: boolean;
  passwordStdin?: boolean;
}

interface ChosenPassword {
  password: string;
  oneTime: boolean;
}

async function choosePassword({ io }: CliSession, fromInput = false): Promise<ChosenPassword> {
  if (!fromInput) return { password: oneTimePassword(), oneTime: true };
  const password = (await io.readInput()).replace(/\r?\n$/, '');
  if (password !== '') return { password, oneTime: false };
  throw usageError('standard input holds no password', 'pipe it in: signet accounts … --password-stdin < file');
}

/** Somebody chose it, and may have chosen badly; or it was made here, at random. */
const hashOf = ({ passwords, newPasswords }: Store, { password, oneTime }: ChosenPassword, owner: Owner) =>
  oneTime ? passwords.hash(password) : newPasswords.choose(password, owner);

function answerWithPassword(session: CliSession, done: string, account: Account, chosen: ChosenPassword): void {
  const { password, oneTime } = chosen;
  if (!oneTime) return session.answer({ account: shown(account) }, `${done} (id ${account.id})`);
  session.answer(
    { account: shown(account), oneTimePassword: password },
    `${done}

${facts({ id: account.id, 'one-time password': password })}

The password is shown this once. It is good for one sign-in, where a password of their own is chosen.`,
  );
}

/** What of an account is for everybody's eyes: not the hash. */
function shown(account: Account): Omit<Account, 'passwordHash'> & { state: string } {
  const { passwordHash: _hash, ...rest } = account;
  return { ...rest, state: stateOf(account) };
}

function stateOf({ disabledAt, passwordHash, passwordMustChange }: Account): string {
  if (disabledAt) return 'disabled';
  if (passwordHash && passwordMustChange) return 'one-time password';
  return 'active';
}

const repeated = (value: string, before: string[] = []) => [...before, value];
const unique = (values: string[]) => [...new Set(values)];
