// Which statements servers of this process send, on either engine: what a request makes them look up and write.

import { StatementSync } from 'node:sqlite';
import pg from 'pg';
import { type MockInstance, vi } from 'vitest';

export interface Statements {
  /** Those since the last call, on what tokens, people and grants are in. */
  taken(): { reads: number; writes: number };
  /** From now on, each of them fails as on a disk that is broken; on SQLite. */
  fail(isFailing: boolean): void;
  stop(): void;
}

const ofTokens = ['oidc_models', 'refresh_tokens', 'accounts', 'consents', 'revoked_statuses'];

/** @param beside further tables */
export function watchStatements(...beside: string[]): Statements {
  const watched = new RegExp(`\\b(${[...ofTokens, ...beside].join('|')})\\b`);
  let seen: string[] = [];
  let isFailing = false;
  const note = (sql: string) => {
    if (!watched.test(sql)) return;
    seen.push(sql.trim());
    if (isFailing) throw Object.assign(new Error('disk I/O error'), { code: 'ERR_SQLITE_ERROR', errcode: 10 });
  };
  const spies: MockInstance[] = [];
  for (const method of ['all', 'run'] as const) {
    const right = StatementSync.prototype[method] as (...values: unknown[]) => never;
    const spy = vi.spyOn(StatementSync.prototype, method);
    spies.push(spy as unknown as MockInstance);
    spy.mockImplementation(function (this: StatementSync, ...values: unknown[]) {
      note(this.sourceSQL);
      return right.apply(this, values);
    } as never);
  }
  const query = pg.Client.prototype.query as (...input: unknown[]) => never;
  const spy = vi.spyOn(pg.Client.prototype, 'query');
  spies.push(spy as unknown as MockInstance);
  spy.mockImplementation(function (this: pg.Client, ...input: unknown[]) {
    const [first] = input as [string | { text?: string }];
    note(typeof first === 'string' ? first : (first?.text ?? ''));
    return query.apply(this, input);
  } as never);

  return {
    taken() {
      const statements = seen;
      seen = [];
      const reads = statements.filter((sql) => /^(select|with)\b/i.test(sql)).length;
      return { reads, writes: statements.length - reads };
    },
    fail(failing) {
      isFailing = failing;
    },
    stop: () => {
      for (const each of spies) each.mockRestore();
    },
  };
}
