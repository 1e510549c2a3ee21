// Refusals that anybody can cause: nobody is named in the request, or an application alone, whose name is public. Were
// each a row of the audit trail, whoever sends enough of them would fill the disk and push out what matters. So of each
// kind the first ones of a minute have a row, and further rows count the others. Bounded three times over: of one kind,
// of one network over all kinds, and in all (SECURITY.md has the sums).

import type { AuditEvent } from './events.ts';

interface Refusals {
  /** Whether `event` is to be written as it is; where not, it was counted. */
  admits(event: AuditEvent): boolean;
  /** Ends the minute: events that count what was not written. The most frequent kinds have one each. */
  take(): AuditEvent[];
}

export interface RefusalsOptions {
  /** As much of an address as one sender may hold all of: see addressPrefixes (web/address.ts). Default: the address. */
  networkOf?: (address: string) => string;
  /** Epoch milliseconds. */
  now?: () => number;
}

interface Kind {
  event: AuditEvent['event'];
  error: unknown;
  clientId: string | undefined;
  network: string | undefined;
  seen: number;
  written: number;
}

const rowsOfStrangers = 1;
/** Of a known application: those are mistakes of somebody who will want to look at them. */
const rowsOfApplications = 60;
/** Of one network in a minute, over all kinds and applications. And never more than a quarter of what is left for all. */
const rowsOfNetwork = 60;
/** Over everything: so many at once, and then so many a minute. */
const rowsAtOnce = 600;
const rowsAMinute = 10;
/** Kinds that have a row of their own at the end of a minute; the rest of them share one for each event. */
const countedApart = 10;
/** Told apart in a minute, at the most; and of one network. */
const mostKinds = 1000;
const mostKindsOfNetwork = 100;

const minuteMs = 60_000;

export function isAnybodys({ event, subject, actor }: AuditEvent): boolean {
  // A session that ends without a person in it was a stranger's.
  return /(?:refused|forged|\.ended)$/.test(event) && subject === undefined && actor === undefined;
}

export function createRefusals({ networkOf = (address) => address, now = Date.now }: RefusalsOptions = {}): Refusals {
  let kinds = new Map<string, Kind>();
  let kindsOf = new Map<string, number>();
  let rowsOf = new Map<string, number>();
  let left = rowsAtOnce;
  let filledAt = now();

  /** A network has its first kinds apart, and the others together; where even those are too many, all share one. */
  function kindOf({ event, clientId, detail = {} }: AuditEvent, network: string | undefined): Kind {
    // A failure at Microsoft is a word of ours, and so is its reason: each has its row.
    const error =
      detail.failure === undefined
        ? (detail.error ?? detail.reason)
        : [detail.failure, detail.reason].filter((word) => word !== undefined).join(' ');
    const apart = JSON.stringify([event, error, clientId, network]);
    const ofNetwork = JSON.stringify([event, network]);
    const known = kinds.get(apart);
    if (known) return known;
    const alreadyOf = kindsOf.get(network ?? '') ?? 0;
    if (alreadyOf < mostKindsOfNetwork && kinds.size < mostKinds) {
      kindsOf.set(network ?? '', alreadyOf + 1);
      return newKind(apart, { event, error, clientId, network });
    }
    if (kinds.has(ofNetwork) || kinds.size < 2 * mostKinds) {
      return kinds.get(ofNetwork) ?? newKind(ofNetwork, { event, network });
    }
    return kinds.get(event) ?? newKind(event, { event });
  }

  function newKind(key: string, known: Pick<Kind, 'event'> & Partial<Kind>): Kind {
    const kind = { error: undefined, clientId: undefined, network: undefined, ...known, seen: 0, written: 0 };
    kinds.set(key, kind);
    return kind;
  }

  /** Whether this network, and everybody together, may have another row. */
  function hasRoom(network: string): boolean {
    const at = now();
    left = Math.min(rowsAtOnce, left + (Math.max(0, at - filledAt) / minuteMs) * rowsAMinute);
    filledAt = at;
    const written = rowsOf.get(network) ?? 0;
    if (left < 1 || written >= rowsOfNetwork || written >= Math.ceil(left / 4)) return false;
    left -= 1;
    rowsOf.set(network, written + 1);
    return true;
  }

  return {
    admits(event) {
      if (!isAnybodys(event)) return true;
      const network = event.address === undefined ? undefined : networkOf(event.address);
      const kind = kindOf(event, network);
      kind.seen += 1;
      const most = kind.clientId === undefined ? rowsOfStrangers : rowsOfApplications;
      if (kind.written >= most || !hasRoom(network ?? '')) return false;
      kind.written += 1;
      return true;
    },

    take() {
      const uncounted = ({ seen, written }: Kind) => seen - written;
      const over = [...kinds.values()]
        .filter((kind) => uncounted(kind) > 0)
        .sort((one, other) => uncounted(other) - uncounted(one));
      kinds = new Map();
      kindsOf = new Map();
      rowsOf = new Map();
      const apart = over.slice(0, countedApart).map((kind) => ({
        event: kind.event,
        clientId: kind.clientId,
        address: kind.network,
        detail: { error: kind.error, times: uncounted(kind) },
      }));
      const together = new Map<AuditEvent['event'], { times: number; kinds: number }>();
      for (const kind of over.slice(countedApart)) {
        const sum = together.get(kind.event) ?? { times: 0, kinds: 0 };
        together.set(kind.event, { times: sum.times + uncounted(kind), kinds: sum.kinds + 1 });
      }
      return [...apart, ...[...together].map(([event, detail]) => ({ event, detail }))];
    },
  };
}
