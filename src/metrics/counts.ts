// What happened since the start, counted where it is noted for the audit trail: sign-ins, tokens, refusals. Of an event
// only words of our own become labels; what a request brought along does not.

import type { Audit } from '../audit/audit.ts';
import type { AuditEvent } from '../audit/events.ts';
import type { Metric } from './exposition.ts';

interface Counts {
  /** The same audit trail, whose activity is counted on its way in. */
  counting(audit: Audit): Audit;
  metrics(): Metric[];
}

interface Counter {
  add(labels: Record<string, string>): void;
  metric(): Metric;
}

/** Codes are tens. More than this is something that should not have become a label. */
const mostSeries = 200;

export function createCounts(): Counts {
  const signIns = createCounter('signet_sign_ins_total', 'Sign-ins by method and how they ended.');
  const tokens = createCounter('signet_tokens_issued_total', 'Tokens issued, by kind and by grant type.');
  const refusals = createCounter('signet_refusals_total', 'Requests refused, by what was asked for and error code.');

  function count({ event, detail = {} }: AuditEvent): void {
    const [what = '', how] = event.split('.');
    if (what === 'signin') {
      const outcome = how === 'refused' ? (detail.failure ?? detail.reason) : how;
      return signIns.add({ method: detail.method === 'entra' ? 'entra' : 'password', outcome: word(outcome) });
    }
    if (event === 'token.issued') {
      const kinds = Array.isArray(detail.kinds) ? detail.kinds : [];
      for (const kind of kinds) tokens.add({ kind: word(kind), grant_type: word(detail.grantType) });
      return;
    }
    if (how?.endsWith('refused')) refusals.add({ request: what, error: word(detail.error ?? detail.reason) });
  }

  return {
    counting: (audit) => ({
      ...audit,
      record(event) {
        count(event);
        audit.record(event);
      },
    }),

    metrics: () => [signIns, tokens, refusals].map((counter) => counter.metric()),
  };
}

function createCounter(name: string, help: string): Counter {
  const series = new Map<string, { labels: Record<string, string>; value: number }>();
  return {
    add(labels) {
      const key = JSON.stringify(labels);
      const known = series.get(key);
      if (known) known.value += 1;
      else if (series.size < mostSeries) series.set(key, { labels, value: 1 });
    },
    metric: () => ({ name, type: 'counter', help, samples: [...series.values()] }),
  };
}

/** A code of ours or of a specification; whatever else stands in its place is not repeated. */
function word(code: unknown): string {
  return typeof code === 'string' && /^[a-z][a-z0-9_]{0,39}$/.test(code) ? code : 'other';
}
