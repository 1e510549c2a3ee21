// What a stranger makes of a token's status: fetches the list that it names and reads the bit, with nothing of ours.

import { inflateSync } from 'node:zlib';
import type { Dispatcher } from 'undici';
import { decode } from './user-agent.ts';

/** The reference in a token: which list, and which place of it. */
export function statusReference(accessToken: string): { idx: number; uri: string } {
  return decode(accessToken).payload.status.status_list;
}

/** 1: revoked. Asked through `dispatcher`, where several servers answer. */
export async function statusBit(accessToken: string, dispatcher?: Dispatcher): Promise<number> {
  const { idx, uri } = statusReference(accessToken);
  const answer = await fetch(uri, dispatcher && ({ dispatcher } as RequestInit));
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  const {
    sub,
    status_list: { bits, lst },
  } = decode(await answer.text()).payload;
  if (sub !== uri || bits !== 1) throw new Error(`this is the list ${sub} of ${bits} bits`);
  return (inflateSync(Buffer.from(lst, 'base64url'))[idx >> 3]! >> (idx & 7)) & 1;
}
