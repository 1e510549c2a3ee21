// Refusals that anybody can cause: nobody is named in the request, or an application alone, whose name is public. Were
// each a row of the audit trail, whoever sends enough of them would fill the disk and push out what matters. So of each
// kind the first ones of a minute have a row, and one more row counts the others.

import type { AuditEvent } from './audit.ts';

interface Refusals {
  /** Whether `event` is to be written as it is; where not, it was counted. */
  admits(event: AuditEvent): boolean;
  /** Ends the minute: an event for each kind of which some were counted. */
  take(): AuditEvent[];
}

interface Kind {
  event: string;
  error: unknown;
  clientId: string | undefined;
  address: string | undefined;
  seen: number;
}

const rowsOfStrangers = 1;
/** Of a known application: those are mistakes of somebody who will want to look at them. */
const rowsOfApplications = 60;
/** More, of more addresses than that, are told apart by address no longer. */
const mostKinds = 1000;

export function isAnybodys({ event, subject, actor }: AuditEvent): boolean {
  return event.endsWith('refused') && subject === undefined && actor === undefined;
}

export function createRefusals(): Refusals {
  let kinds = new Map<string, Kind>();

  function kindOf({ event, clientId, address, detail = {} }: AuditEvent): Kind {
    const error = detail.failure ?? detail.error ?? detail.reason;
    const keyOf = (from: string | undefined) => JSON.stringify([event, error, clientId, from]);
    const from = kinds.has(keyOf(address)) || kinds.size < mostKinds ? address : undefined;
    const kind = kinds.get(keyOf(from)) ?? { event, error, clientId, address: from, seen: 0 };
    kinds.set(keyOf(from), kind);
    return kind;
  }

  return {
    admits(event) {
      if (!isAnybodys(event)) return true;
      const kind = kindOf(event);
      kind.seen += 1;
      return kind.seen <= rowsOf(kind);
    },

    take() {
      const over = [...kinds.values()].filter((kind) => kind.seen > rowsOf(kind));
      kinds = new Map();
      return over.map(({ event, error, clientId, address, seen }) =>
        ({ event, clientId, address, detail: { error, times: seen - rowsOf({ clientId }) } }));
    },
  };
}

const rowsOf = ({ clientId }: Pick<Kind, 'clientId'>) =>
  (clientId === undefined ? rowsOfStrangers : rowsOfApplications);
