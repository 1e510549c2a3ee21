// The audit trail: who did what. Two kinds of rows in one table. Administrative and key events are appended in the transaction of the
// act and chained (chain.ts), so that a row that was changed, removed or moved is found.
// Activity (sign-ins, refusals, tokens issued) is written in batches behind the request, unchained, and swept in time;
// what anybody can cause is counted rather than written, beyond a few (refusals.ts).

import type { Database, Queryable, Value } from '../database/database.ts';
import { inBatches, insertBatch } from '../database/rows.ts';
import { createWriteBehind } from '../database/write-behind.ts';
import type { Log } from '../log.ts';
import { briefJson, detailOf } from './brief-details.ts';
import { appendToChain, type ChainVerdict, type EventRow, eventColumns, verifyChain } from './chain.ts';
import type { AuditEvent } from './events.ts';
import { createRefusals, isAnybodys, type RefusalsOptions } from './refusals.ts';
import { createRetention, frequentEvents, type Retention } from './retention.ts';
import { firstRowId, newRowId } from './row-ids.ts';
import { secretIn } from './secrets.ts';

interface AuditRow extends AuditEvent {
  id: string;
  /** Epoch milliseconds. */
  at: number;
  /** Place in the chain, from 1; null for activity. */
  seq: number | null;
  detail: Record<string, unknown>;
}

export interface AuditQuery {
  /** Epoch milliseconds, inclusive. */
  since?: number | undefined;
  /** Epoch milliseconds, exclusive. */
  until?: number | undefined;
  event?: string | undefined;
  subject?: string | undefined;
  clientId?: string | undefined;
  /** What a person quotes from a page: a request's id, or the one that Microsoft was given. */
  reference?: string | undefined;
  /** At most 1000; default 100. */
  limit?: number | undefined;
}

export interface Audit {
  /** Writes an administrative or key event in the transaction of the act. @throws {TypeError} a secret in `detail` */
  append(tx: Queryable, event: AuditEvent): Promise<void>;
  /** Notes activity. Returns at once and never throws: what cannot be kept is counted and logged. */
  record(event: AuditEvent): void;
  /** Newest first, including what was recorded until now; the refusals that are counted come at the end of a minute. */
  list(query?: AuditQuery): Promise<AuditRow[]>;
  /** Walks the whole chain and stops at the first row that is not as it was written. */
  verify(): Promise<ChainVerdict>;
  /** Deletes activity older than its retention time, at most `limit` rows of a kind; `limit`: there may be more. */
  sweepExpired(now: number, limit: number): Promise<number>;
  /** Writes what is still in memory. */
  close(): Promise<void>;
}

interface AuditOptions {
  now?: () => number;
  log: Log;
  /** For how long activity is kept. */
  retention?: Retention;
  /** How much of an address strangers are told apart by. */
  networkOf?: RefusalsOptions['networkOf'];
}

// The id makes a repeat harmless: a batch may have been committed although its answer was lost.
const insert = { into: 'audit_events', columns: eventColumns, onConflict: '(id) do nothing' };
const batchRows = 256;
const roundRows = 4 * batchRows;
const batchMs = 200;
// A minute or so of a busy server: beyond that a database that is away must not eat the memory of one that serves.
const bufferRows = 20_000;
// Half of them, so that whoever causes refusals while the database is away does not push out what people did.
const anybodysRows = bufferRows / 2;
const countEveryMs = 60_000;
const longestText = 500;

export function createAudit(db: Database, options: AuditOptions): Audit {
  const { now = Date.now, log, retention = {}, networkOf } = options;
  const buffer: EventRow[] = [];
  const refusals = createRefusals({ now, networkOf });
  let dropped = 0;
  let closed = false;
  let counting: NodeJS.Timeout | undefined;
  const behind = createWriteBehind({
    everyMs: batchMs,
    write,
    failed: (error) => log.error('audit.write_failed', { error, waiting: buffer.length }),
  });

  function keep(event: AuditEvent): void {
    if (buffer.length >= (isAnybodys(event) ? anybodysRows : bufferRows)) {
      dropped += 1;
      return;
    }
    buffer.push(toRowWithoutSecrets(event, now(), log));
    behind.soon(buffer.length >= batchRows);
  }

  function keepCounted(): void {
    counting = undefined;
    for (const event of refusals.take()) keep(event);
  }

  async function write(): Promise<void> {
    while (buffer.length > 0) {
      const round = buffer.slice(0, roundRows);
      // Asked for together: on SQLite they share one commit, and with it one wait for the disk.
      const written = await Promise.allSettled(
        inBatches(round, batchRows).map((batch) => insertBatch(db, insert, batch)),
      );
      const failure = written.find((each) => each.status === 'rejected');
      if (failure) throw failure.reason;
      buffer.splice(0, round.length);
    }
    admitDropped();
  }

  function admitDropped(): void {
    if (dropped > 0) log.error('audit.events_dropped', { dropped });
    dropped = 0;
  }

  return {
    async append(tx, event) {
      await appendToChain(tx, toRow(event, now()));
    },

    record(event) {
      if (closed) {
        dropped += 1;
        return;
      }
      if (isAnybodys(event)) counting ??= setTimeout(keepCounted, countEveryMs).unref();
      if (refusals.admits(event)) keep(event);
    },

    async list({ since, until, event, subject, clientId, reference, limit = 100 } = {}) {
      await behind.settled();
      const conditions: string[] = [];
      const parameters: Value[] = [];
      const where = (condition: string, value: Value | undefined) => {
        if (value !== undefined) conditions.push(`${condition} $${parameters.push(value)}`);
      };
      where('id >=', since === undefined ? undefined : firstRowId(since));
      where('id <', until === undefined ? undefined : firstRowId(until));
      where('event =', event);
      where('subject =', subject);
      where('client_id =', clientId);
      if (reference !== undefined) {
        const inDetail = `%"correlationId":"${reference.replace(/[^0-9a-f-]/gi, '')}"%`;
        conditions.push(`(request_id = $${parameters.push(reference)} or detail like $${parameters.push(inDetail)})`);
      }
      const { rows } = await db.query<EventRow & { seq: number | null }>(
        `select ${eventColumns.join(', ')}, seq from audit_events
         ${conditions.length > 0 ? `where ${conditions.join(' and ')}` : ''}
         order by id desc limit $${parameters.push(Math.min(limit, 1000))}`,
        parameters,
      );
      return rows.map(fromRow);
    },

    verify: () => verifyChain(db),

    sweepExpired: createRetention(db, retention),

    async close() {
      clearTimeout(counting);
      keepCounted();
      closed = true;
      await behind.close();
      dropped += buffer.splice(0).length;
      admitDropped();
    },
  };
}

function toRow(event: AuditEvent, at: number): EventRow {
  const { detail = {} } = event;
  const secret = secretIn(detail);
  if (secret !== undefined) throw new TypeError(`audit event ${event.event}: detail may not contain ${secret}`);
  return {
    id: newRowId(at),
    at,
    event: event.event,
    actor: event.actor ?? null,
    subject: event.subject ?? null,
    client_id: event.clientId ?? null,
    request_id: event.requestId ?? null,
    address: event.address ?? null,
    detail: frequentEvents.includes(event.event) ? briefJson(detail) : JSON.stringify(detail),
  };
}

// A request must not fail because of how its event was written down: the event is kept, its detail is not.
function toRowWithoutSecrets(event: AuditEvent, at: number, log: Log): EventRow {
  const detail = Object.fromEntries(Object.entries(event.detail ?? {}).map(([name, fact]) => [name, shortened(fact)]));
  try {
    return toRow({ ...event, detail }, at);
  } catch (error) {
    log.error('audit.detail_refused', { auditEvent: event.event, error });
    return toRow({ ...event, detail: {} }, at);
  }
}

/** A request says of itself what it likes, at any length. */
function shortened(fact: unknown): unknown {
  return typeof fact === 'string' && fact.length > longestText ? `${fact.slice(0, longestText)}…` : fact;
}

function fromRow(row: EventRow & { seq: number | null }): AuditRow {
  return {
    id: row.id,
    at: row.at,
    seq: row.seq,
    event: row.event,
    actor: row.actor ?? undefined,
    subject: row.subject ?? undefined,
    clientId: row.client_id ?? undefined,
    requestId: row.request_id ?? undefined,
    address: row.address ?? undefined,
    detail: detailOf(row.detail),
  };
}
