// Whether a code or a refresh token still opens what it was issued for: the client is its own, and its session, its grant and
// its person are there. oidc-provider asks the same, one after the other (lib/actions/grants/).

import type { Account } from '../../accounts/account.ts';
import type { RegisteredClient } from '../../clients/clients.ts';
import type { Backing } from '../../grants/backing.ts';
import type { UpstreamProvider } from '../upstream-session.ts';
import type { PersonalSource } from './issuing.ts';

/** What of a stored token says on what it rests. */
interface BoundToken extends PersonalSource {
  exp?: number;
  expiresWithSession?: boolean;
}

export type IntactBacking = { grant: NonNullable<Backing['grant']>; account: Account };

/** @param now epoch milliseconds @returns undefined: it does not */
export function intactBacking(
  token: BoundToken,
  { grant, session, account }: Backing,
  { clientId }: RegisteredClient,
  now: number,
): IntactBacking | undefined {
  const seconds = Math.floor(now / 1000);
  const isOf = (one: { clientId?: string | undefined; exp?: number | undefined } | undefined) =>
    one !== undefined && one.clientId === clientId && one.exp !== undefined && one.exp > seconds;
  if (!isOf(token) || !isOf(grant) || grant?.accountId !== token.accountId) return undefined;
  if (!isSignedIn(token, session, now)) return undefined;
  return grant && account && !account.disabledAt ? { grant, account } : undefined;
}

/** Whether the session goes on that a token is bound to, where it is bound to one. @param now epoch milliseconds */
export function isSignedIn(
  { accountId, expiresWithSession }: Pick<BoundToken, 'accountId' | 'expiresWithSession'>,
  session: Backing['session'],
  now: number,
): boolean {
  if (!expiresWithSession) return true;
  return session?.accountId === accountId && Math.floor((session?.expiresAt ?? 0) / 1000) > Math.floor(now / 1000);
}

/** Whether what the grant rests on elsewhere holds: asked where a token is refreshed. */
export async function holdsUpstream(
  grant: IntactBacking['grant'],
  upstream: Pick<UpstreamProvider, 'statusOf'> | undefined,
): Promise<boolean> {
  return !upstream || grant.upstream === undefined || (await upstream.statusOf(grant.upstream)) === 'holds';
}
