// Rows that strangers can add, without end if they like: of one network there are so many, and in all so many. The oldest
// go first, so that everybody can always begin, and who shares a network with an attacker has the time that it takes to
// push them out. Which rows, the owner of the table says.

import type { Queryable } from './database.ts';

export interface RoomLimits {
  ofNetwork: number;
  inAll: number;
}

interface Room {
  /** After a row of this network was added: takes away what is beyond. */
  added(network: string): Promise<void>;
}

interface RoomOptions {
  table: string;
  /** Names a row; also the order among those of one moment. */
  key: string;
  /** Which rows of the table, beside that they have a network. Words of our own alone. */
  which?: string;
  limits?: Partial<RoomLimits> | undefined;
}

// An office behind one address, or a provider's customers behind one of its, have a thousand sign-ins under way and room
// left. All networks together fill some hundred megabytes at the worst (SECURITY.md).
const roomLimits: RoomLimits = { ofNetwork: 1000, inAll: 20_000 };

/** The sum is looked at now and then: a look goes through the index from its new end. */
const looksAtSumEvery = 50;
const atOnce = 1000;

export function createRoom(db: Queryable, { table, key, which = 'true', limits = {} }: RoomOptions): Room {
  const { ofNetwork, inAll } = { ...roomLimits, ...limits };
  let sinceSum = 0;

  async function trim(condition: string, keep: number, values: string[]): Promise<void> {
    await db.query(
      `delete from ${table} where (${key}) in (select ${key} from ${table} where ${condition} and ${which}
         order by expires_at desc limit ${atOnce} offset ${keep})`,
      values,
    );
  }

  return {
    async added(network) {
      await trim('network = $1', ofNetwork, [network]);
      sinceSum += 1;
      if (sinceSum < Math.min(looksAtSumEvery, inAll)) return;
      sinceSum = 0;
      await trim('network is not null', inAll, []);
    },
  };
}
