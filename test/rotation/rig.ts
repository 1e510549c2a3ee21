// Two servers on one PostgreSQL behind a balancer, the load on them, the verifiers, and the store as the command line
// opens it. Whatever was started is stopped in the reverse order.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import bcrypt from 'bcrypt';
import type { SigningKey } from '../../src/keys/key-rows.ts';
import { silentLog } from '../../src/log.ts';
import type { Store } from '../../src/store.ts';
import { openStore } from '../../src/store.ts';
import { postgres } from '../support/engines.ts';
import { freePort } from '../support/ports.ts';
import { person } from '../support/signet.ts';
import type { Balancer } from './balancer.ts';
import { startBalancer } from './balancer.ts';
import type { ServerProcess } from './fleet.ts';
import { startServerProcess } from './fleet.ts';
import type { Judge } from './judge.ts';
import { createJudge } from './judge.ts';
import type { Load } from './load.ts';
import { startLoad } from './load.ts';
import type { ServerSettings } from './scaled.ts';
import { pace, propagationMs, serverConfig } from './scaled.ts';
import type { PausableVerifier } from './verifiers.ts';
import { byMaxAgeOnly, jose, onUnknownKidOnly, ours, startPausable } from './verifiers.ts';

export interface Rig {
  issuer: string;
  /** By position; one that is replaced keeps its port. */
  servers: ServerProcess[];
  /** All that ever ran, for their logs. */
  everyServer: ServerProcess[];
  restart(position: number, options?: { clockShiftMs?: number }): Promise<ServerProcess>;
  balancer: Balancer;
  store: Store;
  judge: Judge;
  load: Load;
  /** Sees tokens from the moment it is watched: judge.watchPausable(pausable). */
  pausable: PausableVerifier;
  /** The keys in the order in which they began to sign. */
  activations(): Promise<(SigningKey & { activatedAt: number })[]>;
  /** Resolves when tokens of the key were issued, as many as it takes to judge it. */
  signed(kid: string): Promise<void>;
  /** Resolves with the keys when they satisfy `condition`. */
  keysWhere(condition: (keys: SigningKey[]) => boolean): Promise<SigningKey[]>;
  close(): Promise<void>;
}

export async function startRig(): Promise<Rig> {
  const closers: (() => unknown)[] = [];
  const close = async () => {
    for (let step = closers.pop(); step; step = closers.pop()) await step();
  };
  try {
    const directory = mkdtempSync(join(tmpdir(), 'signet-rotation-'));
    closers.push(() => rmSync(directory, { recursive: true, force: true }));
    const ports = [await freePort(), await freePort()];
    const front = await freePort();
    const issuer = `http://localhost:${front}`;
    const database = await postgres.freshUrl();
    const settings = (port: number): ServerSettings => ({ issuer, port, database, directory });

    const balancer = await startBalancer(front, ports);
    closers.push(() => balancer.close());
    const everyServer: ServerProcess[] = [];
    const servers: ServerProcess[] = [];
    closers.push(() => Promise.all(servers.map((server) => server.stop())));
    const restart = async (position: number, options?: { clockShiftMs?: number }) => {
      const server = await startServerProcess(settings(ports[position]!), options);
      everyServer.push(server);
      return (servers[position] = server);
    };
    await restart(0);
    await restart(1);

    const store = await openStore(serverConfig(settings(0)), silentLog);
    closers.push(() => store.close());
    await store.accounts.create(
      {
        email: person.email,
        name: 'Ada',
        roles: ['buyer'],
        passwordHash: await bcrypt.hash(person.password, 4),
      },
      'test',
    );

    const judge = createJudge();
    for (const verifier of [ours(issuer), jose(issuer), onUnknownKidOnly(issuer), byMaxAgeOnly(issuer)]) {
      judge.watch(verifier);
      closers.push(() => verifier.close?.());
    }
    const pausable = await startPausable(issuer);
    closers.push(() => pausable.stop());
    closers.push(() => judge.stop());
    const load = await startLoad(issuer, judge);
    closers.push(() => load.stop());

    async function keysWhere(condition: (keys: SigningKey[]) => boolean): Promise<SigningKey[]> {
      for (;;) {
        const found = await store.keyring.list();
        if (condition(found)) return found;
        await pause(50);
      }
    }

    return {
      issuer,
      servers,
      everyServer,
      restart,
      balancer,
      store,
      judge,
      load,
      pausable,
      keysWhere,
      close,
      async signed(kid) {
        while (judge.signatures.filter((one) => one.kid === kid).length < 3) await pause(50);
      },
      async activations() {
        return (await store.keyring.list())
          .filter((key): key is SigningKey & { activatedAt: number } => key.activatedAt !== null)
          .sort((a, b) => a.activatedAt - b.activatedAt);
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

interface HandOver {
  kid: string;
  /** How long after the hand-over the key before was last asked for a signature and gave one. */
  previousSignedForMs: number;
  /** How long both signed: from the first answer of the new key to the last request that the old one answered. */
  bothSignedForMs: number;
  /** Answers of the new key from before it was active: none, if clocks and rows mean anything. */
  early: number;
}

/** What was seen of each change of the signing key. `requestedAt` is on the clock that the database has, too. */
export async function handOvers({ judge, activations }: Pick<Rig, 'judge' | 'activations'>): Promise<HandOver[]> {
  const keys = await activations();
  return keys.slice(1).map(({ kid, activatedAt }, index) => {
    const previous = judge.signatures.filter((one) => one.kid === keys[index]!.kid).map((one) => one.requestedAt);
    const next = judge.signatures.filter((one) => one.kid === kid).map((one) => one.receivedAt);
    const last = Math.max(...previous);
    return {
      kid,
      previousSignedForMs: Math.max(0, last - activatedAt),
      bothSignedForMs: Math.max(0, last - Math.min(...next)),
      early: next.filter((at) => at < activatedAt).length,
    };
  });
}

/** The counts, as one block for whoever reads the run. */
export async function report(title: string, rig: Rig, more: [string, string][] = []): Promise<string> {
  const { judge, load, balancer } = rig;
  const changes = await handOvers(rig);
  const keys = await rig.store.keyring.list();
  const answers = [...balancer.statuses].sort(([a], [b]) => a - b).map(([status, count]) => `${count} × ${status}`);
  const rows = [
    ['rotations', `${changes.length}; keys destroyed ${keys.filter(({ state }) => state === 'destroyed').length}`],
    ['both keys signing, ms', changes.map((one) => one.bothSignedForMs).join(', ')],
    [
      'the old one after the hand-over, ms',
      `${changes.map((one) => one.previousSignedForMs).join(', ')} ` + `(stated: at most ${propagationMs})`,
    ],
    ['sign-ins', load.counts.signIns],
    [
      'refreshes',
      `${load.counts.refreshes}; ${load.chains.length} grants of ` +
        `${load.chains.map(({ refreshedAt }) => refreshedAt.length).join(', ')} in a row`,
    ],
    ['client_credentials', load.counts.clientCredentials],
    ['JWTs issued', `${judge.signatures.length}; access tokens among them ${judge.accessTokens.length}`],
    ...[...judge.verified].map(([name, count]) => [`verified: ${name}`, count]),
    ['good tokens refused', judge.refused.length],
    ['answers', answers.join(', ')],
    ['cut connections', `${balancer.cut}; clients that asked again ${load.interrupted}`],
    ['JWKS failures', balancer.jwksFailures],
    ['pace; slowest answer, ms', `${pace}; ${judge.slowestMs}`],
    ...more,
  ];
  return `${title}\n${rows.map(([name, value]) => `  ${String(name).padEnd(44)}${value}`).join('\n')}`;
}
