// One connection to PostgreSQL, and what all of them have in common: the servers of the database URL, of which one takes
// writes, and the bounds. A connection is looked at before its first use: does the server at its other end take writes,
// and is the session our own, or a pooler's?

import { createHash } from 'node:crypto';
import type { ClientConfig, QueryConfig } from 'pg';
import pg from 'pg';

import { type PostgresAddress, parsePostgresUrl } from '../config/postgres.ts';
import { AppError } from '../errors.ts';
import type { Result, Value } from './database.ts';
import { DatabaseFailure, ofPostgres, readOnly, silence } from './failures.ts';

const connectTimeoutMs = 5_000;
const statementTimeoutMs = 10_000;
// The server cancels first, where it can be heard.
const silenceAfterMs = 2_000;
/** For migrations, which may build an index for minutes. */
export const slowStatementMs = 15 * 60_000;
const keepAliveAfterMs = 10_000;
const goodbyeMs = 1_000;

export interface Connections {
  /** Makes a connection to the server that takes writes, as far as that is known; not yet connected. */
  Connection: new () => Connection;
  hosts: number;
  /** Connections that were made before now are not to be trusted: the server went silent, or stopped taking writes. */
  distrust(connection: Connection): void;
  isTrusted(connection: Connection): boolean;
  /** Cuts whatever is open. */
  sever(): void;
  /** Ends what is still open, without waiting for servers that do not answer. */
  close(): Promise<void>;
}

export interface Connection extends pg.Client {
  /** How often the servers had been found out when it was made. */
  readonly generation: number;
  /** Whether a pooler stands between: no LISTEN, no named statements, no settings of the session. */
  readonly pooled: boolean;
  /** To be done once, after connect(). @throws {DatabaseFailure} where the server takes no writes. */
  prove(): Promise<void>;
  /** @param withinMs how long the answer may take, if not what the database URL says. */
  run<Row>(sql: string, values?: readonly Value[], withinMs?: number): Promise<Result<Row>>;
}

interface Shared {
  address: PostgresAddress;
  configs: ClientConfig[];
  /** Which of the servers is thought to take writes. */
  at: number;
  generation: number;
  /** Set once a statement met another session than the one that had prepared it. */
  withoutNames: boolean;
  open: Set<OpenConnection>;
}

/** @throws {AppError} database_url */
export function createConnections(url: string): Connections {
  const address = parsePostgresUrl(url);
  if (typeof address === 'string') {
    throw new AppError('database_url', 500, `the database URL ${address}`, {
      hint: 'Write postgres://user:password@host:5432/name, with parameters as docs/operations.md has them.',
    });
  }
  const configs = address.hosts.map((host) => configFor(address, host));
  const shared: Shared = { address, configs, at: 0, generation: 0, withoutNames: false, open: new Set() };
  return {
    Connection: class extends OpenConnection {
      constructor() {
        super(shared);
      }
    },
    hosts: configs.length,
    distrust(connection) {
      if (connection.generation === shared.generation) shared.generation += 1;
    },
    sever: () => {
      for (const one of shared.open) one.sever();
    },
    isTrusted: (connection) => connection.generation === shared.generation,
    async close() {
      if (shared.open.size === 0) return;
      const allGone = Promise.all([...shared.open].map((one) => new Promise((resolve) => one.once('end', resolve))));
      for (const one of shared.open) void one.end().catch(() => {});
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise((resolve) => {
        timer = setTimeout(resolve, goodbyeMs);
      });
      await Promise.race([allGone, late]);
      clearTimeout(timer);
      for (const one of shared.open) one.sever();
    },
  };
}

/** How many connections the pool may hold. */
export function poolSizeOf(url: string): number {
  const address = parsePostgresUrl(url);
  return typeof address === 'string' ? 10 : Number(address.parameters.get('pool_max_conns') ?? 10);
}

// A class, since the pool makes its connections itself.
class OpenConnection extends pg.Client implements Connection {
  readonly generation: number;
  pooled = false;
  readonly #shared: Shared;
  readonly #host: number;
  readonly #boundMs: number;
  #silentFor: number | undefined;

  constructor(shared: Shared) {
    super(shared.configs[shared.at]);
    this.#shared = shared;
    this.#host = shared.at;
    this.generation = shared.generation;
    this.#boundMs = boundOf(shared.address);
    shared.open.add(this);
    this.once('end', () => shared.open.delete(this));
    // Without a listener, losing a connection would end the process. The statement in flight fails anyway.
    this.on('error', () => {});
  }

  override connect(): Promise<pg.Client>;
  override connect(callback: ((error: Error) => void) | ((error: null, client: pg.Client) => void)): void;
  override connect(callback?: (error: never, client: pg.Client) => void): Promise<pg.Client> | void {
    const told = (error: unknown): unknown => {
      if (error) this.#turnAway();
      return error ? ofPostgres(error, stateOf(error), true) : error;
    };
    if (callback) return super.connect((error: unknown) => callback(told(error) as never, this));
    return super.connect().catch((error: unknown) => {
      throw told(error);
    });
  }

  async prove(): Promise<void> {
    const {
      rows: [session],
    } = await this.run<{ pid: number; read_only: string; bound: string }>(
      `select pg_backend_pid() as pid, current_setting('transaction_read_only') as read_only,
        current_setting('statement_timeout') as bound`,
      [],
      connectTimeoutMs,
    );
    if (session!.read_only === 'on') {
      this.#turnAway();
      throw readOnly(this.host);
    }
    // A pooler tells a process number of its own making, since cancelling goes through it. (PgBouncer, Odyssey, RDS Proxy)
    const told = (this as unknown as { processID: number }).processID;
    this.pooled = session!.pid !== told;
    // Nobody's transaction holds its locks for the hours that a server takes to miss a client that lost its power.
    if (this.pooled || session!.bound !== '0' || this.#boundMs === 0) return;
    await this.run(
      `select set_config('statement_timeout', $1, false),
      set_config('idle_in_transaction_session_timeout', $1, false)`,
      [String(this.#boundMs)],
      connectTimeoutMs,
    );
  }

  async run<Row>(sql: string, values: readonly Value[] = [], withinMs?: number): Promise<Result<Row>> {
    const statement: QueryConfig = { text: sql, values: [...values] };
    // Statements with values are the repeated ones: each connection parses and plans them once.
    if (values.length > 0 && !this.pooled && !this.#shared.withoutNames) statement.name = statementName(sql);
    const boundMs = withinMs ?? (this.#boundMs === 0 ? 0 : this.#boundMs + silenceAfterMs);
    const timer = boundMs === 0 ? undefined : setTimeout(() => this.#fallSilent(boundMs), boundMs);
    try {
      const { rows, rowCount } = await this.query(statement);
      return { rows, rowCount: rowCount ?? 0 };
    } catch (error) {
      const failure =
        this.#silentFor === undefined ? ofPostgres(error, stateOf(error), false) : silence(this.#silentFor);
      if (failure instanceof DatabaseFailure && failure.meaning.shared) this.#shared.withoutNames = true;
      throw failure;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends it without a word: nobody at the other end would answer. */
  sever(): void {
    (this as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  }

  #fallSilent(afterMs: number): void {
    this.#silentFor = afterMs;
    this.sever();
  }

  #turnAway(): void {
    if (this.#shared.at === this.#host) this.#shared.at = (this.#host + 1) % this.#shared.configs.length;
  }
}

function configFor({ user, password, database, parameters }: PostgresAddress, host: PostgresAddress['hosts'][number]) {
  const given = (name: string) => parameters.get(name);
  const timeout = given('connect_timeout');
  // The driver knows its own parameters of TLS best, and reads them from a URL only.
  const tls = new URLSearchParams([...parameters].filter(([name]) => /^(ssl|uselibpqcompat)/.test(name)));
  const base = new URL(`postgres://base/?${tls}`);
  base.searchParams.set('host', host.host);
  if (host.port !== undefined) base.searchParams.set('port', String(host.port));
  if (user !== undefined) base.searchParams.set('user', user);
  if (password !== undefined) base.searchParams.set('password', password);
  if (database !== undefined) base.pathname = `/${encodeURI(database)}`;
  const config: ClientConfig = {
    connectionString: base.href,
    connectionTimeoutMillis: timeout === undefined || timeout === '0' ? connectTimeoutMs : Number(timeout) * 1000,
    application_name: given('application_name') ?? 'signet',
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveAfterMs,
    types: { getTypeParser },
  };
  if (given('options') !== undefined) config.options = given('options');
  for (const name of ['lock_timeout', 'idle_in_transaction_session_timeout'] as const) {
    if (given(name) !== undefined) config[name] = Number(given(name));
  }
  if (given('channel_binding') === 'prefer') Object.assign(config, { enableChannelBinding: true });
  return config;
}

/** Milliseconds that a statement may take; 0 is for ever. */
function boundOf({ parameters }: PostgresAddress): number {
  return Number(parameters.get('statement_timeout') ?? parameters.get('query_timeout') ?? statementTimeoutMs);
}

const names = new Map<string, string>();

function statementName(sql: string): string {
  const known = names.get(sql);
  if (known) return known;
  const name = createHash('sha256').update(sql).digest('base64url').slice(0, 22);
  names.set(sql, name);
  return name;
}

function stateOf(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? (error.code ?? '') : undefined;
}

// Numbers and truth as SQLite gives them. bigint holds epoch milliseconds and counts, exact up to 2^53; numeric is what
// sum() makes of it. For this pool only: the process-wide parsers of `pg` belong to everyone.
const numberTypes: number[] = [pg.types.builtins.INT8, pg.types.builtins.NUMERIC];

function getTypeParser(oid: number, format?: 'text' | 'binary'): (value: string) => unknown {
  if (numberTypes.includes(oid)) return Number;
  if (oid === pg.types.builtins.BOOL) return (value) => (value === 't' ? 1 : 0);
  return pg.types.getTypeParser(oid, format as 'text');
}
