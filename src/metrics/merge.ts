// Figures of several processes as those of one server. Counters are added up and never go back: what a process counted
// stays in the sum when it has ended. Of gauges each metric says what becomes of them (exposition.ts).

import type { Metric, Sample } from './exposition.ts';

/** What one process says, and by what name it is known. */
export interface FiguresOf {
  worker: string;
  metrics: readonly Metric[];
}

/** All in the order of the first; `worker` becomes a label where a metric is told of each. */
export function mergeFigures(all: readonly FiguresOf[]): Metric[] {
  const merged = new Map<string, Metric>();
  for (const { worker, metrics } of all) {
    for (const metric of metrics) {
      const known = merged.get(metric.name);
      const samples =
        acrossOf(metric) === 'each'
          ? metric.samples.map(({ value, labels }) => ({ value, labels: { ...labels, worker } }))
          : metric.samples;
      merged.set(metric.name, { ...metric, samples: known ? together(metric, known.samples, samples) : [...samples] });
    }
  }
  return [...merged.values()];
}

/** What remains of a process that has ended: the counters that are added up. */
export function counted(metrics: readonly Metric[]): Metric[] {
  return metrics.filter((metric) => acrossOf(metric) === 'sum');
}

const acrossOf = ({ across, type }: Metric) => across ?? (type === 'counter' ? 'sum' : 'first');

function together(metric: Metric, before: readonly Sample[], more: readonly Sample[]): Sample[] {
  const across = acrossOf(metric);
  if (across === 'each') return [...before, ...more];
  if (across === 'first') return [...before];
  const combine = { sum: (a: number, b: number) => a + b, least: Math.min, most: Math.max }[across];
  const samples = new Map(before.map((sample) => [keyOf(sample), sample]));
  for (const sample of more) {
    const known = samples.get(keyOf(sample));
    samples.set(keyOf(sample), known ? { ...known, value: combine(known.value, sample.value) } : sample);
  }
  return [...samples.values()];
}

const keyOf = ({ labels = {} }: Sample) => JSON.stringify(Object.entries(labels).sort());
