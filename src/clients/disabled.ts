// Clients that an administrator has disabled, whatever signet.yaml says of them. The tables are those of clients.ts.

import { setTimeout as delay } from 'node:timers/promises';
import type { Config, ConfigProblem } from '../config/config.ts';
import type { Queryable } from '../database/database.ts';
import { openDatabase } from '../database/open.ts';
import { isAppError } from '../errors.ts';

/** Every application that an administrator has stopped, wherever it comes from, and since when: epoch milliseconds. */
export async function readDisabled(db: Queryable): Promise<ReadonlyMap<string, number>> {
  const { rows } = await db.query<{ id: string; disabled_at: number }>(
    `select client_id as id, disabled_at from disabled_clients
     union all select id, disabled_at from clients where disabled_at is not null`,
  );
  return new Map(rows.map((row) => [row.id, row.disabled_at]));
}

const lookWithinMs = 2_000;

/**
 * Applications of the file that are stopped in the database, for `signet config check`: which changes nothing, and works
 * where the database is not there or not reached.
 */
export async function disabledDeclared(config: Config): Promise<ConfigProblem[]> {
  if (config.applications.length === 0) return [];
  const notKnown = {
    source: '',
    path: 'database.url',
    message: 'is not reached from here, so whether an application is disabled (signet clients disable) is not known',
  };
  const look = async () => {
    const db = await openDatabase(config.database.url, { create: false });
    try {
      return await disabledAmong(config, db);
    } finally {
      await db.close();
    }
  };
  return Promise.race([
    look().catch((error: unknown) => (isAppError(error, 'database_missing') ? [] : [notKnown])),
    delay(lookWithinMs, [notKnown], { ref: false }),
  ]);
}

/** One sentence for each declared application that is stopped. */
export async function disabledAmong({ applications }: Config, db: Queryable): Promise<ConfigProblem[]> {
  const disabled = await readDisabled(db);
  return applications.flatMap(({ clientId }, index) => {
    const since = disabled.get(clientId);
    if (since === undefined) return [];
    const message =
      `(${clientId}) is disabled since ${new Date(since).toISOString()}, whatever stands here, until: ` +
      `signet clients enable ${clientId}`;
    return [{ source: '', path: `applications[${index}]`, message }];
  });
}
