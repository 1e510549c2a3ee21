// How things stand at the moment of asking: what the server knows of itself anyway, and three queries.

import type { WatchedDatabase } from '../database/outages.ts';
import type { ConnectorHealth } from '../entra/connector.ts';
import type { RotationHealth } from '../keys/rotation.ts';
import type { KeysStatus } from '../keys/status.ts';
import type { Log } from '../log.ts';
import { gauge, type Metric, stateGauge } from './exposition.ts';

export interface GaugeParts {
  version: string;
  database: Pick<WatchedDatabase, 'engine' | 'takesWrites'>;
  keys: () => Promise<Pick<KeysStatus, 'keys'>>;
  rotation: () => Pick<RotationHealth, 'ok' | 'clockOffset'>;
  databaseBytes: () => Promise<number>;
  /** Milliseconds since no expired row was left. */
  sweepLag: () => number;
  entra?: (() => ConnectorHealth) | undefined;
  log: Log;
  now?: () => number;
}

const keyStates = ['prepared', 'active', 'retired', 'destroyed', 'revoked'] as const;

export async function gauges(parts: GaugeParts): Promise<Metric[]> {
  const { version, database, rotation, entra, log, now = Date.now } = parts;
  const [answers, keys, bytes] = await Promise.all([
    database.takesWrites(),
    parts.keys().catch((error: unknown) => {
      log.warn('metrics.keys_not_read', { error });
      return undefined;
    }),
    // Absent while the database is away; that it is away is a figure of its own.
    parts.databaseBytes().catch(() => undefined),
  ]);
  const { ok, clockOffset } = rotation();
  return [
    {
      name: 'signet_build_info',
      type: 'gauge',
      help: 'Always 1; which Signet this is, and on what.',
      samples: [{ value: 1, labels: { version, node: process.versions.node, database: database.engine } }],
    },
    ...processFigures(now()),
    gauge('signet_database_up', 'Whether the database takes writes.', answers ? 1 : 0, 'least'),
    gauge('signet_key_rotation_ok', 'Whether signing keys are followed and clocks agree.', ok ? 1 : 0, 'least'),
    gauge('signet_clock_offset_seconds', 'Our clock minus the database’s, when last compared.', clockOffset / 1000),
    // Of several workers that sweep, one that saw the end is enough.
    gauge('signet_sweep_lag_seconds', 'Since no expired row was left.', parts.sweepLag() / 1000, 'least'),
    ...(bytes === undefined ? [] : [gauge('signet_database_bytes', 'Size of the database.', bytes)]),
    ...(keys ? ofKeys(keys, now()) : []),
    ...(entra ? ofEntra(entra(), now()) : []),
  ];
}

export function processFigures(now: number): Metric[] {
  const { user, system } = process.cpuUsage();
  return [
    gauge(
      'process_start_time_seconds',
      'When the process started, epoch seconds.',
      now / 1000 - process.uptime(),
      'each',
    ),
    gauge('process_resident_memory_bytes', 'Memory in use.', process.memoryUsage.rss(), 'each'),
    {
      name: 'process_cpu_seconds_total',
      type: 'counter',
      help: 'Processor time used.',
      across: 'each',
      samples: [{ value: (user + system) / 1e6 }],
    },
  ];
}

function ofKeys({ keys }: Pick<KeysStatus, 'keys'>, now: number): Metric[] {
  return [
    {
      name: 'signet_signing_keys',
      type: 'gauge',
      help: 'Signing keys by state.',
      samples: keyStates.map((state) => ({
        labels: { state },
        value: keys.filter((key) => key.state === state).length,
      })),
    },
    {
      name: 'signet_signing_key_next_step_seconds',
      type: 'gauge',
      help: 'Seconds until the schedule takes the key to its next state.',
      samples: keys.flatMap(({ kid, state, next }) =>
        next === null
          ? []
          : [
              {
                labels: { kid, state, becomes: next.becomes },
                value: Math.max(0, (next.at.getTime() - now) / 1000),
              },
            ],
      ),
    },
  ];
}

function ofEntra({ state, isHeldBack, expiries }: ConnectorHealth, now: number): Metric[] {
  return [
    stateGauge('entra_state', 'Signing in with Microsoft, as /health/ready has it.', ['ok', 'degraded', 'down'], state),
    gauge('entra_circuit_breaker_open', 'Whether requests to Microsoft are held back.', isHeldBack ? 1 : 0, 'most'),
    {
      name: 'entra_credential_expires_seconds',
      type: 'gauge',
      help: 'Seconds until the certificate, or the secret as configured, expires; less than 0: ago.',
      samples: expiries.map(({ which, at }) => ({
        labels: { credential: which },
        value: Math.floor((at.getTime() - now) / 1000),
      })),
    },
  ];
}
