// The first start makes an administrator, with a one-time password that is shown once. Later ones find an account.

import { adminRole } from '../accounts/account.ts';
import type { Accounts } from '../accounts/accounts.ts';
import { oneTimePassword, type Passwords } from './password.ts';

/** Undefined where there is an account, also where another process was faster. */
export async function createFirstAdministrator(
  { accounts, passwords }: { accounts: Accounts; passwords: Passwords },
  issuer: string,
): Promise<{ email: string; oneTimePassword: string } | undefined> {
  if (await accounts.any()) return undefined;
  const email = `admin@${new URL(issuer).hostname}`;
  const password = oneTimePassword();
  const created = await accounts.createFirst({
    email,
    name: 'Administrator',
    roles: [adminRole],
    passwordHash: await passwords.hash(password),
    passwordMustChange: true,
  });
  return created && { email, oneTimePassword: password };
}
