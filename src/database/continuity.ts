// Whether the database is still the one that it was: not an older copy, restored or taken over by a standby that had not
// heard of everything. Then what was spent, revoked or disabled since is not any more, and nobody would see it. Owns the
// table database_mark. Remembered in the memory of each server, and in a file beside the master key for its next start.

import { randomUUID } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { Log } from '../log.ts';
import type { Database, DatabasePosition, Queryable } from './database.ts';

/** What shows that the database is not, or may not be, what it was. */
interface Evidence {
  /**
   * `counter`: it knows less than was remembered. `log`: its write-ahead log is shorter. `timeline`: another server was
   * promoted, or recovered; it may know everything. `server`: the data are on another server.
   */
  kind: 'counter' | 'log' | 'timeline' | 'server';
  remembered: string;
  found: string;
}

interface ContinuityParts {
  db: Database;
  log: Log;
  /** Where to remember over a stop. Without it, an older copy that comes between a stop and a start goes unnoticed. */
  file?: string | undefined;
  /** Done once, by one server, in a transaction: whatever must not go on as if nothing had happened. */
  setBack(tx: Queryable, evidence: Evidence): Promise<void>;
  /** Called in each server afterwards: what it has in memory is of the other database. */
  invalidate(): Promise<void>;
  everyMs?: number;
}

const lookEveryMs = 5_000;
/** So far the counter is moved on, so that servers which remember more than the one that noticed do not notice again. */
const stepPast = 1_000_000;

const markSchema = z.object({
  lineage: z.string(),
  epoch: z.string(),
  counter: z.int(),
  position: z.object({ server: z.string(), timeline: z.int(), log: z.int() }).optional(),
});
type Mark = z.infer<typeof markSchema>;

/** Where to remember: beside the master key, which survives what the database does not. Without that file, nowhere. */
export function markFile({
  masterKey,
  masterKeyFile,
}: {
  masterKey?: string;
  masterKeyFile: string;
}): string | undefined {
  return masterKey === undefined ? join(dirname(masterKeyFile), 'database.mark') : undefined;
}

/** Looks once before it resolves: what is found then is dealt with before anything is handed out. */
export async function startContinuity(parts: ContinuityParts): Promise<{ stop(): Promise<void> }> {
  const { db, log, file, setBack, invalidate, everyMs = lookEveryMs } = parts;
  const self = randomUUID(); // two containers with one volume may have one process number
  let remembered = file === undefined ? undefined : await readMark(file, log);
  let looking: Promise<void> | undefined;
  let failing = false;

  async function look(): Promise<void> {
    const found = await countUp(db);
    const before = remembered;
    if (before?.lineage !== found.lineage) return remember(found); // another database altogether, or the first look
    const evidence = compare(before, found);
    if (!evidence) {
      await remember(found);
      // Somebody else noticed, and did what is to be done once.
      if (before.epoch !== found.epoch) await invalidate();
      return;
    }
    const counter = Math.max(before.counter, found.counter) + stepPast;
    const epoch = randomUUID();
    const isOurs = await db.transaction(async (tx) => {
      const { rowCount } = await tx.query(
        'update database_mark set counter = $1, epoch = $2 where id = 1 and epoch = $3',
        [counter, epoch, found.epoch],
      );
      if (rowCount === 1) await setBack(tx, evidence);
      return rowCount === 1;
    });
    if (isOurs) {
      log.error('database.set_back', {
        ...evidence,
        hint: 'What was spent, revoked or disabled after that copy was made is not any more: see docs/operations.md.',
      });
    }
    await remember(
      isOurs ? { ...found, counter, epoch } : { ...found, counter: Math.max(before.counter, found.counter) },
    );
    await invalidate();
  }

  async function remember(mark: Mark): Promise<void> {
    remembered = mark;
    if (file === undefined) return;
    try {
      // Several processes may keep one file: none takes back what another one wrote, nor writes into its draft.
      const kept = await readMark(file, log);
      if (kept?.lineage === mark.lineage && kept.counter > mark.counter) return;
      const draft = `${file}.${self}`;
      await writeFile(draft, JSON.stringify(mark), { mode: 0o600 });
      await rename(draft, file);
      failing = false;
    } catch (error) {
      // The directory of a mounted secret cannot be written: then a start has nothing to compare with.
      if (!failing) log.info('database.mark_not_kept', { error });
      failing = true;
    }
  }

  await look();
  // A look that fails is made again; that the database is away is told elsewhere.
  const timer = setInterval(() => {
    looking ??= look()
      .catch(() => undefined)
      .finally(() => {
        looking = undefined;
      });
  }, everyMs).unref();

  return {
    async stop() {
      clearInterval(timer);
      await looking;
      // The last word: any copy that was made while we ran is older than this.
      await look().catch(() => undefined);
    },
  };
}

async function countUp(db: Database): Promise<Mark> {
  // Whoever is first names it.
  const {
    rows: [row],
  } = await db.query<Omit<Mark, 'position'>>(
    `insert into database_mark (id, lineage, epoch, counter) values (1, $1, $2, 1)
     on conflict (id) do update set counter = database_mark.counter + 1
     returning lineage, epoch, counter`,
    [randomUUID(), randomUUID()],
  );
  const position = await db.position();
  return { ...row!, ...(position && { position }) };
}

/** Nothing where all is as it was, or where somebody else has already noticed. */
function compare(before: Mark, found: Mark): Evidence | undefined {
  if (found.counter <= before.counter) {
    return { kind: 'counter', remembered: String(before.counter), found: String(found.counter) };
  }
  if (before.epoch !== found.epoch || !before.position || !found.position) return undefined;
  return comparePositions(before.position, found.position);
}

function comparePositions(before: DatabasePosition, found: DatabasePosition): Evidence | undefined {
  for (const kind of ['server', 'timeline'] as const) {
    if (before[kind] !== found[kind]) return { kind, remembered: String(before[kind]), found: String(found[kind]) };
  }
  if (found.log < before.log) return { kind: 'log', remembered: String(before.log), found: String(found.log) };
  return undefined;
}

async function readMark(file: string, log: Log): Promise<Mark | undefined> {
  try {
    return markSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    // None at the first start; one that is cut off or foreign says nothing.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') log.warn('database.mark_not_read', { error });
    return undefined;
  }
}
