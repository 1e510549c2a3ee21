// What of oidc-provider's models is written, and how it is read again. The id is the credential, so it must not ride
// along in the payload; the same goes for the session cookie's value, which oidc-provider copies into an interaction
// and never reads again.

import type { AdapterPayload } from 'oidc-provider';

export function stored({
  jti: _id,
  session,
  ...payload
}: AdapterPayload & { session?: Record<string, unknown> }): string {
  if (!session) return JSON.stringify(payload);
  const { cookie: _cookie, ...rest } = session;
  return JSON.stringify({ ...payload, session: rest });
}

export function loaded(row: { payload: string; consumed_at: number | null }, id?: string): AdapterPayload {
  const payload = JSON.parse(row.payload) as AdapterPayload;
  if (id !== undefined) payload.jti = id;
  if (row.consumed_at !== null) payload.consumed = Math.floor(row.consumed_at / 1000);
  return payload;
}
