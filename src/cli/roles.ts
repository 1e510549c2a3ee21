// signet roles: where the roles of people come from. Neither command changes anything.

import type { Command } from 'commander';
import { type Account, displayNameOf } from '../accounts/account.ts';
import type { Identity } from '../accounts/identities.ts';
import { compareMappings, explainRoles, mappingOf, type RoleMapping, rolesOf } from '../accounts/role-mapping.ts';
import { type Config, loadRoleMapping } from '../config/config.ts';
import { evidenceOf } from '../entra/account-linking.ts';
import { accountOf, whom } from './account.ts';
import type { CliSession } from './session.ts';
import { facts, moment, table } from './tables.ts';

const configuredMapping = ({ entra }: Pick<Config, 'entra'>): RoleMapping =>
  entra ? mappingOf(entra.tenant, entra.roles) : { appRoles: {}, groups: {} };

export function roleCommands(program: Command, session: CliSession): void {
  const roles = program.command('roles').description('where the roles of people come from');

  roles
    .command('explain')
    .description('say of each role whether a person has it, and why or why not')
    .argument('<account>', whom)
    .action(async (who: string) => {
      const { account, identities } = await session.withStore(async (store) => {
        const found = await accountOf(store, who);
        return { account: found, identities: await store.identities.of(found.id) };
      });
      explain(session, configuredMapping(session.config()), account, identities);
    });

  roles
    .command('dry-run')
    .description('show who would gain or lose which roles by another mapping than entra.roles')
    .argument('<mapping.yaml>', 'file with what stands under entra.roles')
    .action(async (file: string) => {
      const config = session.config();
      const { tenant } = config.entra ?? {};
      const before = configuredMapping(config);
      const after = mappingOf(tenant ?? '', loadRoleMapping(file, tenant, session.io.cwd));
      const people = await session.withStore(async (store) => {
        const known = new Map<string, Identity[]>();
        for (const identity of await store.identities.list('entra')) {
          known.set(identity.accountId, [...(known.get(identity.accountId) ?? []), identity]);
        }
        return (await store.accounts.list()).flatMap((account) => {
          const identities = known.get(account.id);
          return identities ? [{ account, evidence: evidenceOf(identities) }] : [];
        });
      });
      const changes = people
        .map(({ account, evidence }) => ({
          account: { id: account.id, name: displayNameOf(account) },
          ...compareMappings(before, after, account.assignedRoles, evidence),
        }))
        .filter(({ gains, loses }) => gains.length + loses.length > 0);
      answerChanges(session, changes, people.length);
    });
}

function explain(session: CliSession, mapping: RoleMapping, account: Account, identities: Identity[]): void {
  const evidence = evidenceOf(identities);
  const explained = explainRoles(mapping, account.assignedRoles, evidence);
  const due = rolesOf(mapping, evidence);
  const isStale = String(due) !== String([...account.mappedRoles].sort());
  const said = identities.map(({ externalId, lastSeenAt }) => ({ externalId, at: lastSeenAt }));
  const document = {
    account: { id: account.id, name: displayNameOf(account) },
    roles: explained,
    said,
    current: !isStale,
  };

  const rows = explained.flatMap(({ role, has, because }) =>
    because.map((reason, at) => (at === 0 ? [role, has ? 'yes' : 'no', reason] : ['', '', reason])),
  );
  const parts = [
    facts({
      account: displayNameOf(account),
      id: account.id,
      'Microsoft said': said.map(({ at }) => moment(at)).join(', ') || 'nothing: the person never came from there',
    }),
    explained.length > 0
      ? table(['ROLE', 'HAS IT', 'BECAUSE'], rows)
      : 'There is no role that this person has, or could have by the mapping.',
    ...(isStale ? ['The mapping has changed since. Tokens say so from the next sign-in or check at refresh on.'] : []),
  ];
  session.answer(document, parts.join('\n\n'));
}

interface Change {
  account: { id: string; name: string };
  gains: string[];
  loses: string[];
}

function answerChanges(session: CliSession, changes: Change[], people: number): void {
  const summary =
    changes.length === 0
      ? `Nobody of ${people} would gain or lose a role.`
      : `${changes.length} of ${people} would change. Nothing was applied: that takes entra.roles and a restart.`;
  const rows = changes.map(({ account: { id, name }, gains, loses }) => [name, gains.join(', '), loses.join(', '), id]);
  const shown = changes.length === 0 ? '' : `${table(['ACCOUNT', 'GAINS', 'LOSES', 'ID'], rows)}\n\n`;
  session.answer({ people, changes }, shown + summary);
}
