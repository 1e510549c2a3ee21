// Two servers in the same state, which are asked the same at the same moment of one clock: one answers token requests as it
// does by default, the other has oidc-provider answer them all.

import { Readable } from 'node:stream';
import bcrypt from 'bcrypt';
import { type Dispatcher, Pool } from 'undici';
import { vi } from 'vitest';
import type { ServerParts } from '../../src/server.ts';
import type { Engine } from '../support/engines.ts';
import { forgetMadeKeys } from '../support/keys.ts';
import { noteSecret } from '../support/secrets.ts';
import { secret, startSignet, type TestServer } from '../support/signet.ts';
import { authorizationRequest, authorize, UserAgent } from '../support/user-agent.ts';
import { auditOf, type Rows, rowsIn, sweptRows } from './rows.ts';
import { startSetClock } from './set-clock.ts';
import { Twins } from './twins.ts';
import { type Ask, callback, origin, type PersonName, password, persons, values } from './world.ts';

/** A request as it is sent. */
export interface Draft {
  method: string;
  target: string;
  /** By names in small letters. */
  headers: Record<string, string | string[]>;
  fields: Array<[name: string, value: string]>;
  /** In the place of `fields`, form-encoded. */
  body?: string | Buffer | readonly string[];
}

export interface Answer {
  status: number;
  /** Without those that tell two answers of one server apart. */
  headers: Record<string, unknown>;
  body: unknown;
  requestId: string;
}

/** A code, and what redeems it. */
export interface Code {
  code: string;
  verifier: string | undefined;
  redirectUri: string;
}

/** One of the two. */
export class Side {
  readonly server: TestServer;
  readonly accounts = {} as Record<PersonName, string>;
  readonly #pool: Pool;
  readonly #agents = new Map<string, UserAgent>();

  constructor(server: TestServer) {
    this.server = server;
    this.#pool = new Pool(server.url, { connections: 8 });
  }

  agentOf(person: PersonName): UserAgent {
    const known = this.#agents.get(person) ?? new UserAgent(this.server.issuer, this.server.url);
    this.#agents.set(person, known);
    return known;
  }

  async authorize(person: PersonName, { clientId, scope, resources = [], parameters = {} }: Ask): Promise<Code> {
    const nonce = scope.split(' ').includes('openid') ? 'chosen by the application' : undefined;
    const all = { client_id: clientId, scope, redirect_uri: callback, nonce, ...parameters };
    const { url, verifier } = authorizationRequest(this.server.issuer, all);
    const named = resources.map((resource) => `&resource=${encodeURIComponent(resource)}`).join('');
    const who = { email: persons[person].email, password };
    const code = (await authorize(this.agentOf(person), url + named, who)).get('code');
    if (code === null) throw new Error(`no code for ${clientId}`);
    const withoutPkce = 'code_challenge' in parameters && parameters.code_challenge === undefined;
    return { code, verifier: withoutPkce ? undefined : verifier, redirectUri: all.redirect_uri };
  }

  async signOut(person: PersonName): Promise<void> {
    const agent = this.agentOf(person);
    await agent.submit(await agent.visit('/session/end'), { logout: 'yes' });
  }

  async send({ method, target, headers, fields, body }: Draft, dispatcher: Dispatcher = this.#pool): Promise<Answer> {
    const form = body ?? new URLSearchParams(fields).toString();
    const isBodiless = method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
    const response = await dispatcher.request({
      origin: this.server.url,
      path: target,
      method: method as 'POST',
      headers,
      body: isBodiless ? undefined : Array.isArray(form) ? Readable.from(inChunks(form)) : (form as string | Buffer),
    });
    const text = await response.body.text();
    const { date: _date, 'x-request-id': requestId, 'content-length': length, ...rest } = response.headers;
    return {
      status: response.statusCode,
      headers: { ...rest, ...(length !== undefined && { 'content-length': 'of the body' }) },
      body: readable(text.replaceAll(String(requestId), 'its request id')),
      requestId: String(requestId),
    };
  }

  async close(): Promise<void> {
    await this.#pool.close();
    await this.server.close();
  }
}

/** Of a text in pieces, none of which says how long the whole will be. */
async function* inChunks(pieces: readonly string[]) {
  for (const piece of pieces) {
    yield Buffer.from(piece);
    await new Promise(setImmediate);
  }
}

function readable(text: string): unknown {
  if (!text.startsWith('{')) return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

export interface Pair {
  short: Side;
  provider: Side;
  both: readonly [Side, Side];
  twins: Twins;
  /** From now on, time passes by itself. */
  letTimePass(): Promise<void>;
  /** Does the same on each. */
  onEach<T>(work: (side: Side) => Promise<T>): Promise<[T, T]>;
  advance(seconds: number): Promise<void>;
  /** Each sends what `draft` makes of its own tokens. @returns what the first was answered, and in what the other differs */
  ask(draft: (side: Side) => Draft): Promise<Outcome>;
  /** What is stored differently; and forgets it, but for sessions. */
  differencesInRows(): Promise<string[]>;
  /** What the trails of all requests so far say differently. */
  differencesInAudit(): Promise<string[]>;
  close(): Promise<void>;
}

export interface Outcome {
  answers: [Answer, Answer];
  differences: string[];
}

interface PairOptions {
  /** Beside those of world.ts. */
  more?: Record<string, unknown>;
  parts?: ServerParts;
}

export async function startPair(engine: Engine, { more = {}, parts = {} }: PairOptions = {}): Promise<Pair> {
  const clock = startSetClock();
  // What a server looks at every few seconds it looks at by the world's clock, each of the two at a moment of its own.
  const intervals = vi.spyOn(globalThis, 'setInterval').mockImplementation((() => setTimeout(() => {}, 1)) as never);
  const start = async (ways: ServerParts) => {
    const database = await engine.freshUrl();
    await clock.lead(database);
    forgetMadeKeys(); // the same ones for both
    const side = new Side(
      await startSignet({
        database,
        values: { ...values, ...more },
        parts: { sweepEveryMs: 2 ** 30, ...parts, ...ways },
      }),
    );
    await populate(side);
    return side;
  };
  const started = async () => [await start({}), await start({ tokenEndpoint: 'oidc-provider' })] as const;
  const both = await started()
    .catch((error: unknown) => {
      clock.restore();
      throw error;
    })
    .finally(() => intervals.mockRestore());
  const [short, provider] = both;
  const twins = new Twins();
  twins.useKeys((await (await fetch(`${short.server.url}/jwks`)).json()) as Parameters<Twins['useKeys']>[0]);
  for (const person of Object.keys(persons) as PersonName[])
    twins.pair(short.accounts[person], provider.accounts[person]);
  for (const person of Object.values(persons)) twins.pair(person.email, person.email);
  const asked: Array<[string, string]> = [];

  async function ask(draft: (side: Side) => Draft): Promise<Outcome> {
    const answers = await onEach((side) => side.send(draft(side)));
    asked.push([answers[0].requestId, answers[1].requestId]);
    const [{ requestId: _one, ...one }, { requestId: _other, ...other }] = answers;
    return { answers, differences: twins.differences(one, other, 'answer') };
  }

  const onEach = <T>(work: (side: Side) => Promise<T>) => Promise.all(both.map(work)) as Promise<[T, T]>;
  const databases = both.map(({ server }) => server.store.db);
  // Each server says every few seconds that it lives (database/runs.ts), and here it does not: it lives until the end.
  for (const db of databases) await db.query('update server_runs set alive_at = $1', [Date.now() + 90 * 86_400_000]);
  const advance = (seconds: number) => clock.advance(seconds, databases);
  await advance(10); // what is known of disabled applications is read anew

  return {
    short,
    provider,
    both,
    twins,
    letTimePass: () => clock.run(databases),
    onEach,
    advance,
    ask,
    async differencesInRows() {
      const [ones, others] = await onEach(({ server }) => rowsIn(server.store.db));
      const found = inTables(twins, ones, others);
      await onEach(({ server }) => sweptRows(server.store.db));
      return found;
    },
    async differencesInAudit() {
      const ids = asked.splice(0);
      const [ones, others] = [
        await auditOf(
          short.server,
          ids.map(([id]) => id),
        ),
        await auditOf(
          provider.server,
          ids.map(([, id]) => id),
        ),
      ];
      return ids.flatMap(([one, other], at) => {
        const [trail, their] = [ones.get(one) ?? [], others.get(other) ?? []];
        return twins.differences(trail, their, `audit of request ${at}`);
      });
    },
    async close() {
      clock.restore();
      for (const side of both) await side.close();
    },
  };
}

function inTables(twins: Twins, ones: Rows, others: Rows): string[] {
  return [...new Set([...Object.keys(ones), ...Object.keys(others)])].flatMap((table) => {
    const [mine, theirs] = twins.sorted(ones[table] ?? [], others[table] ?? []);
    return twins.differences(mine, theirs, table);
  });
}

async function populate(side: Side): Promise<void> {
  const { store } = side.server;
  const passwordHash = await bcrypt.hash(password, 4);
  for (const [name, { roles, ...person }] of Object.entries(persons)) {
    // One of them is there already.
    const known = await store.accounts.findByEmail(person.email);
    const { id } = known ?? (await store.accounts.create({ ...person, roles: [...roles], passwordHash }, 'test'));
    side.accounts[name as PersonName] = id;
  }
  const registered = { clientId: 'registered', name: 'Registered', type: 'web' as const, redirectUris: [callback] };
  const { access } = values.applications[0]!;
  await store.clients.register(
    {
      ...registered,
      access: access!,
      origins: [origin],
      postLogoutRedirectUris: [],
      firstParty: true,
      refreshTokens: true,
      pkce: 'required',
    },
    'test',
  );
  const { rows } = await store.db.query<{ hash: string }>(
    `select secret_hash as hash from clients where id = 'registered'`,
  );
  if (rows.length !== 1) throw new Error('it is not registered');
  const { secretHash } = side.server.config.applications.find(({ clientId }) => clientId === 'web')!;
  await store.db.query(`update clients set secret_hash = $1 where id = 'registered'`, [secretHash!]);
  for (const clientId of ['disabled-web', 'disabled-service']) await store.clients.setDisabled(clientId, true, 'test');
  noteSecret('client secret', secret);
}
