// The password step: checks address and password when it is their sender's turn (login-throttle.ts), and ends the
// sign-in, or says on the page why not. Whatever was wrong, the page says the same.

import type { Context } from 'koa';
import { type Account, emailKey } from '../accounts/account.ts';
import { isAppError } from '../errors.ts';
import type { PendingSignIn } from '../issuer/pending-sign-in.ts';
import { addressPrefixes } from '../web/address.ts';
import { requestOf } from '../web/request.ts';
import type { MicrosoftStep } from './microsoft.ts';
import type { Shown } from './next-page.ts';
import { addressIn, inWords, type SignInForm, type SignInPage, type SignInParts } from './page.ts';
import type { QueueOrigin } from './password-queue.ts';
import type { ReplacePasswordStep } from './replace-password.ts';

interface Steps {
  page: SignInPage;
  replacePassword: ReplacePasswordStep;
  microsoft: MicrosoftStep | undefined;
}

/** What came of a password that was looked at. */
type Checked = RightPassword | { isRight: false; reason: string };

interface RightPassword {
  isRight: true;
  account: Account;
  passwordHash: string;
  /** In place of `passwordHash`, which is of another cost. */
  rehashed?: string | undefined;
}

/** It was not looked at. */
type Postponed = { isRight?: undefined; reason: 'busy' | 'too_many_attempts'; waitSeconds: number };

// One sentence for all of them: whether the person exists is nobody's business.
const wrongPassword = 'That e-mail address and password do not match.';
// About what those need who are before: some 100 checks, ten a second.
const busySeconds = 10;
const noAddress = 'Enter your e-mail address and your password.';

export function createCheckPasswordStep(parts: SignInParts, { page, replacePassword, microsoft }: Steps) {
  const { accounts, passwords, throttle, devices, complete, audit } = parts;

  async function check(
    ctx: Context,
    email: string,
    password: string,
    account: Account | undefined,
  ): Promise<Checked | Postponed> {
    const from = addressPrefixes(requestOf(ctx).address);
    const device = devices.of(ctx, account?.id);
    const origin =
      device === undefined
        ? { isProved: false, from: [from.block, from.network ?? from.address, from.address] }
        : { isProved: true, from: [device] };
    try {
      const { checked, waitSeconds } = await throttle.attempt({ emailKey: emailKey(email), ...from, device }, () =>
        compare(ctx, password, account, origin),
      );
      return checked ?? { reason: 'too_many_attempts', waitSeconds };
    } catch (error) {
      if (!isAppError(error, 'busy')) throw error;
      return { reason: 'busy', waitSeconds: busySeconds };
    }
  }

  async function compare(
    ctx: Context,
    password: string,
    account: Account | undefined,
    origin: QueueOrigin,
  ): Promise<Checked> {
    const { ok, rehashed } = await passwords.check(password, account?.passwordHash, origin);
    if (!ok || account?.passwordHash === undefined) return { isRight: false, reason: 'wrong_password' };
    if (account.disabledAt) return { isRight: false, reason: 'account_disabled' };
    const isAdmitted = !page.realmOf(ctx).administratorsOnly || account.assignedRoles.includes('admin');
    if (!isAdmitted) return { isRight: false, reason: 'password_not_allowed' };
    return { isRight: true, account, passwordHash: account.passwordHash, rehashed };
  }

  function refusalOf({ reason, waitSeconds }: Postponed): Shown {
    const until = Date.now() + waitSeconds * 1000;
    if (reason === 'too_many_attempts') return { status: 429, until };
    const problem = `Many people are signing in right now. Try again in ${inWords(waitSeconds)}.`;
    return { problem, status: 503, until };
  }

  function recordRefusal(ctx: Context, pending: PendingSignIn, subject: string | undefined, reason: string): void {
    const { requestId, address } = requestOf(ctx);
    audit.record({
      event: 'signin.refused',
      subject,
      clientId: pending.application.clientId,
      requestId,
      address,
      detail: { reason },
    });
  }

  async function accept(ctx: Context, pending: PendingSignIn, right: RightPassword): Promise<void> {
    const { account, passwordHash, rehashed } = right;
    devices.remember(ctx, account.id);
    if (account.passwordMustChange) return replacePassword.begin(ctx, account, passwordHash);
    if (rehashed) await accounts.rehash(account.id, passwordHash, rehashed);
    if (microsoft && page.wishOf(ctx) === 'connect') {
      const signedOutAt = account.signedOutAt?.getTime();
      // With this trip and no other: what stayed here, whoever signs in next in this browser would find.
      return microsoft.redirect(ctx, pending, { connectTo: { accountId: account.id, signedOutAt } });
    }
    return complete(ctx, pending, account, { method: 'password', amr: ['pwd'] });
  }

  return async (ctx: Context, pending: PendingSignIn, form: SignInForm): Promise<void> => {
    const email = addressIn(form);
    const password = form.get('password') ?? '';
    const knownAddress = page.realmOf(ctx).step === 'identifier' && email !== '';
    const goBack = (shown: Shown) => page.goBack(ctx, pending, { email, knownAddress, ...shown });
    if (email === '' || password === '') return goBack({ problem: noAddress, status: 400 });

    const account = await accounts.findByEmail(email);
    const checked = await check(ctx, email, password, account);
    if (checked.isRight) return accept(ctx, pending, checked);
    const wasChecked = checked.isRight === false;
    recordRefusal(ctx, pending, wasChecked ? account?.id : undefined, checked.reason);
    return goBack(wasChecked ? { problem: wrongPassword, status: 400 } : refusalOf(checked));
  };
}
