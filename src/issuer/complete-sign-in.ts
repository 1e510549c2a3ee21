// Completes a sign-in, whichever way it came: from proof of who somebody is to the browser's way back, with the audit
// event. How the proof was given is signin/ (a password) or entra/ (an ID token of Microsoft's).

import type { Context } from 'koa';
import type { Account } from '../accounts/account.ts';
import type { Accounts } from '../accounts/accounts.ts';
import type { Audit } from '../audit/audit.ts';
import { sendRedirect } from '../web/redirect.ts';
import { requestOf } from '../web/request.ts';
import type { Issuer } from './issuer.ts';
import type { PendingSignIn } from './pending-sign-in.ts';

/** @param account as it was when the proof was checked, or before */
export type CompleteSignIn = (ctx: Context, pending: PendingSignIn, account: Account, proof: Proof) => Promise<void>;

interface Proof {
  method: 'password' | 'entra';
  /** How the person was authenticated, as far as that is known (RFC 8176). */
  amr?: string[];
  acr?: string;
  /** Epoch seconds, where that was not just now. */
  authTime?: number;
  /** The upstream session behind this one. */
  upstream?: string;
}

export function createCompleteSignIn(issuer: Issuer, accounts: Accounts, audit: Audit): CompleteSignIn {
  return async (ctx, pending, account, { method, ...proof }) => {
    const signedOutAt = account.signedOutAt?.getTime();
    const returnTo = await issuer.finishSignIn(ctx, { accountId: account.id, signedOutAt, ...proof });
    await accounts.signedIn(account.id);
    const { requestId, address } = requestOf(ctx);
    const { amr, acr } = proof;
    audit.record({
      event: 'signin.succeeded',
      subject: account.id,
      clientId: pending.application.clientId,
      requestId,
      address,
      detail: { method, amr, acr },
    });
    sendRedirect(ctx, returnTo);
  };
}
