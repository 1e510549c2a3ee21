// Which account the words of a command mean.

import type { Account } from '../accounts/account.ts';
import { AppError } from '../errors.ts';
import type { Store } from '../store.ts';

export const whom = 'e-mail address or id of the account';

/** @throws {AppError} account_unknown (404) | account_ambiguous (400) */
export async function accountOf({ accounts }: Store, who: string): Promise<Account> {
  const found = who.includes('@') ? await accounts.listByEmail(who) : [await accounts.find(who)];
  const known = found.filter((account) => account !== undefined);
  // Whoever signs in by the address is who was meant; people from elsewhere may have the same one.
  const account = known.find(({ signsInByEmail }) => signsInByEmail) ?? known[0];
  if (!account) {
    throw new AppError('account_unknown', 404, `there is no account ${who}`, {
      hint: 'signet accounts list shows them all.',
    });
  }
  if (account.signsInByEmail || known.length === 1) return account;
  throw new AppError('account_ambiguous', 400, `${known.length} people have the address ${who}`, {
    hint: `name one by id: ${known.map(({ id }) => id).join(', ')}`,
  });
}
