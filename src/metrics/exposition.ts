// Figures as text that Prometheus reads, version 0.0.4 of its format.
// (https://prometheus.io/docs/instrumenting/exposition_formats/)

export interface Metric {
  /** Ends in _total where it is a counter; has its unit in it. */
  name: string;
  type: 'counter' | 'gauge';
  help: string;
  samples: Sample[];
  /** What several workers of one server make of it (merge.ts). Default: a counter's sum, and a gauge of the first. */
  across?: 'sum' | 'least' | 'most' | 'each' | 'first';
}

export interface Sample {
  value: number;
  /** Never a person, an address or a token: whoever may read figures may not therefore read those. */
  labels?: Record<string, string>;
}

export const contentType = 'text/plain; version=0.0.4; charset=utf-8';

/** One sample without labels. */
export function gauge(name: string, help: string, value: number, across: Metric['across'] = 'first'): Metric {
  return { name, type: 'gauge', help, samples: [{ value }], across };
}

/** One sample for each possible state: 1 for the one that is, 0 for the others. */
export function stateGauge<State extends string>(
  name: string,
  help: string,
  states: readonly State[],
  current: State,
): Metric {
  return {
    name,
    type: 'gauge',
    help,
    samples: states.map((state) => ({ labels: { state }, value: state === current ? 1 : 0 })),
  };
}

/** The whole document. A metric of which there is nothing to tell is not in it. */
export function expose(metrics: readonly Metric[]): string {
  return metrics
    .filter(({ samples }) => samples.length > 0)
    .map(({ name, type, help, samples }) =>
      [
        `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`,
        `# TYPE ${name} ${type}`,
        ...samples.map(({ value, labels = {} }) => `${name}${labelsText(labels)} ${numberText(value)}`),
        '',
      ].join('\n'),
    )
    .join('');
}

function labelsText(labels: Record<string, string>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (Number.isFinite(value)) return String(value);
  return value > 0 ? '+Inf' : '-Inf';
}
