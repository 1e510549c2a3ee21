// The life cycle of keys in a world of its own: the real keyring and the real clock of rotation, several servers of
// them on one database, an operator beside them, and a time that passes when told to. Every server notices what the
// others did at its next look or when it hears of it, and signs and serves meanwhile what it has. What was signed and
// served when is written down, so that afterwards any verifier can be asked that could have been there.

import { createAudit } from '../../src/audit/audit.ts';
import type { Database } from '../../src/database/database.ts';
import { isAppError } from '../../src/errors.ts';
import type { SigningKey } from '../../src/keys/key-rows.ts';
import type { SigningKeys } from '../../src/keys/keyring.ts';
import { createKeyring } from '../../src/keys/keyring.ts';
import type { Milliseconds } from '../../src/keys/lifecycle.ts';
import { handoverAt, nextStep, readyAt, spentAt } from '../../src/keys/lifecycle.ts';
import type { KeyPolicy } from '../../src/keys/policy.ts';
import { startRotation } from '../../src/keys/rotation.ts';
import type { Seal } from '../../src/keys/seal.ts';
import { silentLog } from '../../src/log.ts';
import { testKeys } from '../support/keys.ts';
import { startAnew } from '../support/stored.ts';

export const begin = 1_700_000_000_000;

export const acts = [
  'wait',
  'prepare',
  'activate',
  'rotate',
  'retire',
  'destroy',
  'revoke the active',
  'revoke the prepared',
  'revoke a retired',
  'longer lives',
] as const;

export interface Command {
  /** How long after the one before; or as much too early for the step of the prepared key, or of a retired one. */
  after: Milliseconds | { early: Milliseconds; for: 'ready' | 'spent' };
  act: (typeof acts)[number];
  /** Chooses among several keys. */
  pick: number;
  /** Whether the servers hear of it at once; otherwise each notices at its next look. */
  isHeard: boolean;
  /** Who has not fetched the prepared key from then on. */
  unseenBy: string[];
}

export interface Life {
  policy: KeyPolicy;
  /** For each server: how far its clock is off, as a share of the allowed skew, and when it looks, of pollEvery. */
  servers: Array<{ offset: number; phase: number }>;
  commands: Command[];
}

/** What a server signs with and serves from `at` on. */
interface Served {
  at: Milliseconds;
  signs: string;
  published: ReadonlySet<string>;
  /** Seconds that what it signs lives at the longest. */
  life: number;
}

interface ServerHistory {
  /** By how much its clock, which stamps the tokens, is before the database's. */
  offset: Milliseconds;
  served: Served[];
}

export interface World {
  policy: KeyPolicy;
  keys: SigningKey[];
  end: Milliseconds;
  servers: ServerHistory[];
  /** How many keys were active, and how many prepared, whenever a server had looked. */
  counts: Set<string>;
  /** Hand-overs by the schedule: how long after its time, and whether somebody had not fetched the key. */
  promotions: Array<{ lateBy: Milliseconds; missing: boolean }>;
  unseenBy: string[];
  /** Keys that signed before their time, because the one before them was revoked. */
  emergencies: Set<string>;
  /** Steps that were refused, by code. */
  refused: string[];
}

type Rotation = Awaited<ReturnType<typeof startRotation>>;

interface Server {
  history: ServerHistory;
  rotation: Rotation;
  /** When it looks: this long after `begin`, and then every pollEvery. */
  phase: Milliseconds;
  lookedAt: Milliseconds;
  /** The number of changes that it had seen then. */
  noticed: number;
}

export async function live(db: Database, seal: Seal, life: Life): Promise<World> {
  await startAnew(db, 'signing_keys');
  let now = begin;
  let { policy } = life;
  let keys: SigningKey[] = [];
  let unseenBy: string[] = [];
  let changes = 0;
  let changedAt = now;
  let made = 0;
  const servers: Server[] = [];
  const world: World = {
    policy,
    keys,
    end: now,
    servers: [],
    counts: new Set(),
    promotions: [],
    unseenBy,
    emergencies: new Set(),
    refused: [],
  };

  // Word of a change goes where the script says, at its time and not at that of this machine.
  const quiet: Database = {
    ...db,
    announce: async () => {
      changes += 1;
      changedAt = now;
    },
    listen: async () => async () => {},
  };
  const audit = createAudit(db, { log: silentLog, now: () => now });
  const generate = async () => {
    const { publicJwk, pkcs8 } = testKeys[made % testKeys.length]!;
    return { publicJwk: { ...publicJwk, kid: `k${made++}` }, pkcs8 };
  };
  const openKeyring = () => createKeyring({ db: quiet, seal, audit, policy, now: () => now, generate });
  let operator = openKeyring();

  const inState = (state: string) => keys.filter((key) => key.state === state);

  async function startServer(history: ServerHistory): Promise<Rotation> {
    const { longestLife } = policy;
    const rotation = await startRotation({
      keyring: openKeyring(),
      db: quiet,
      policy,
      log: silentLog,
      now: () => now,
      everyMs: 2_000_000_000,
      unseenBy: async () => unseenBy,
    });
    const apply = ({ active, published }: SigningKeys) =>
      void history.served.push({
        at: now,
        signs: active.kid,
        published: new Set(published.map(({ kid }) => kid)),
        life: longestLife,
      });
    apply(rotation.firstKeys);
    await rotation.run(apply);
    await rotation.tick(); // the first one is under way
    return rotation;
  }

  async function look(server: Server): Promise<void> {
    const [active] = inState('active');
    const [prepared] = inState('prepared');
    const turn = active && prepared && handoverAt(active, prepared, policy, keys);
    await server.rotation.tick();
    if (server.rotation.health().failure) throw new Error(`a look failed: ${server.rotation.health().failure}`);
    keys = await operator.list();
    server.noticed = changes;
    server.lookedAt = now;
    world.counts.add(`${inState('active').length} active, ${inState('prepared').length} prepared`);
    if (turn !== undefined && inState('active')[0]!.kid === prepared!.kid) {
      world.promotions.push({ lateBy: now - turn, missing: unseenBy.length > 0 });
    }
  }

  /** When a server looks that has something to see: what others changed, or a step that is due. */
  function nextLook({ phase, noticed, lookedAt }: Server): Milliseconds {
    const step = nextStep(keys, now, policy, unseenBy);
    const due = step.do === 'wait' ? step.until : now;
    const news = noticed === changes ? due : Math.min(due, changedAt);
    const every = policy.pollEvery * 1000;
    const look = begin + phase + Math.ceil((Math.max(news, now) - begin - phase) / every) * every;
    return look <= lookedAt ? look + every : look;
  }

  async function passUntil(end: Milliseconds): Promise<void> {
    for (;;) {
      const [next] = servers.map((server) => ({ server, at: nextLook(server) })).sort((a, b) => a.at - b.at);
      if (!next || next.at > end) break;
      now = next.at;
      await look(next.server);
    }
    now = end;
  }

  async function attempt(act: Command['act'], pick: number): Promise<unknown> {
    const one = (state: string) => inState(state).at(pick % Math.max(1, inState(state).length))?.kid ?? 'none';
    switch (act) {
      case 'wait':
        return undefined;
      case 'prepare':
        return operator.prepare();
      case 'activate':
        return operator.activate(one('prepared'));
      case 'rotate':
        return inState('prepared').length > 0 ? operator.activate(one('prepared')) : operator.prepare();
      case 'retire':
        return operator.retire(one('active'));
      case 'destroy':
        return operator.destroy(one('retired'));
      case 'revoke the active': {
        const { successor } = await operator.revoke(one('active'), 'stolen');
        return world.emergencies.add(successor!);
      }
      case 'revoke the prepared':
        return operator.revoke(one('prepared'), 'a mistake');
      case 'revoke a retired':
        return operator.revoke(one('retired'), 'stolen');
      case 'longer lives':
        return reconfigure({ ...policy, longestLife: policy.longestLife + 1_000 });
    }
  }

  /** As with a restart of everything. */
  async function reconfigure(next: KeyPolicy): Promise<void> {
    policy = next;
    operator = openKeyring();
    for (const server of servers) {
      await server.rotation.stop();
      server.rotation = await startServer(server.history);
    }
  }

  function momentOf(after: Command['after']): Milliseconds {
    if (typeof after === 'number') return now + after;
    const moments =
      after.for === 'ready'
        ? inState('prepared').map((key) => readyAt(key, policy))
        : inState('retired').map((key) => spentAt({ ...key, retiredAt: key.retiredAt! }, policy));
    return Math.max(now, moments.length > 0 ? Math.min(...moments) - after.early : now);
  }

  for (const { offset, phase } of life.servers) {
    const history: ServerHistory = { offset: Math.round(offset * policy.clockSkew * 1000), served: [] };
    world.servers.push(history);
    servers.push({
      history,
      rotation: await startServer(history),
      phase: Math.round(phase * policy.pollEvery * 1000),
      noticed: changes,
      lookedAt: now,
    });
  }
  keys = await operator.list();

  for (const command of life.commands) {
    await passUntil(momentOf(command.after));
    unseenBy = command.unseenBy;
    await attempt(command.act, command.pick).catch((error: unknown) => {
      if (!isAppError(error) || error.status >= 500) throw error;
      world.refused.push(error.code);
    });
    keys = await operator.list();
    if (command.isHeard) for (const server of servers) await look(server);
  }
  for (const server of servers) await server.rotation.stop();
  return { ...world, policy, keys, end: now, unseenBy };
}
