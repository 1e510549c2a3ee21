// signet grants: what people let applications do now, and the end of it. A grant that is revoked takes its refresh
// token with it at once, and its access tokens as soon as verifiers fetch the status list.

import type { Command } from 'commander';
import { displayNameOf } from '../accounts/account.ts';
import { accountOf, whom } from './account.ts';
import type { CliSession } from './session.ts';
import { moment, table } from './tables.ts';

export function grantCommands(program: Command, session: CliSession): void {
  const grants = program.command('grants').description('what people let applications do');

  grants
    .command('list')
    .description('show the grants of a person, oldest first')
    .argument('<account>', whom)
    .action((who: string) =>
      session.withStore(async (store) => {
        const account = await accountOf(store, who);
        const all = await store.grants.list(account.id);
        const rows = all.map(({ grantId, clientId, audiences, since, until }) => [
          grantId,
          clientId,
          audiences.join(', '),
          moment(since),
          moment(until),
        ]);
        session.answer(
          { accountId: account.id, grants: all },
          all.length === 0
            ? `${displayNameOf(account)} is signed in to no application.`
            : table(['GRANT', 'APPLICATION', 'APIS', 'SINCE', 'UNTIL'], rows),
        );
      }),
    );

  grants
    .command('revoke')
    .description('end one grant: its refresh token at once, its access tokens within revocation.ttl')
    .argument('<grant>', 'as signet grants list shows it')
    .action((grantId: string) =>
      session.withStore(async (store) => {
        const ended = await store.grants.revoke(grantId, { actor: session.actor });
        session.answer(ended, `grant ${grantId} for ${ended.clientId} is revoked`);
      }),
    );
}
