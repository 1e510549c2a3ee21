import { describe, expect, test } from 'vitest';
import type { Metric } from '../../src/metrics/exposition.ts';
import { counted, mergeFigures } from '../../src/metrics/merge.ts';

const metric = (name: string, value: number, more: Partial<Metric> = {}): Metric => {
  return { name, type: name.endsWith('_total') ? 'counter' : 'gauge', help: 'x', samples: [{ value }], ...more };
};
const merged = (...each: Metric[][]) =>
  mergeFigures(each.map((metrics, index) => ({ worker: String(index + 1), metrics })));
const samples = (metrics: Metric[]) => metrics.flatMap((one) => one.samples);

describe('figures of several workers', () => {
  test('a counter is the sum, label by label, whatever the order of the labels', () => {
    const [one, two] = [
      metric('a_total', 0, {
        samples: [
          { value: 2, labels: { kind: 'access', grant: 'x' } },
          { value: 1, labels: { kind: 'id', grant: 'x' } },
        ],
      }),
      metric('a_total', 0, {
        samples: [
          { value: 5, labels: { grant: 'x', kind: 'access' } },
          { value: 7, labels: { kind: 'refresh', grant: 'x' } },
        ],
      }),
    ];
    expect(samples(merged([one], [two]))).toEqual([
      { value: 7, labels: { kind: 'access', grant: 'x' } },
      { value: 1, labels: { kind: 'id', grant: 'x' } },
      { value: 7, labels: { kind: 'refresh', grant: 'x' } },
    ]);
  });

  test.each([
    ['least', [1, 0, 1], [{ value: 0 }]],
    ['most', [0, 1, 0], [{ value: 1 }]],
    ['first', [3, 4, 5], [{ value: 3 }]],
    [
      'each',
      [8, 9],
      [
        { value: 8, labels: { worker: '1' } },
        { value: 9, labels: { worker: '2' } },
      ],
    ],
  ] as const)('a gauge that says so is the %s', (across, values, expected) => {
    expect(samples(merged(...values.map((value) => [metric('a', value, { across })])))).toEqual(expected);
  });

  test('of a gauge that says nothing, the first is told, and what only one has is told as well', () => {
    expect(merged([metric('a', 1)], [metric('a', 2), metric('b', 3)])).toEqual([metric('a', 1), metric('b', 3)]);
  });

  test('of a process that ended its counters stay, and nothing that was its own', () => {
    const left = counted([metric('a_total', 1), metric('cpu_total', 1, { across: 'each' }), metric('a', 1)]);
    expect(left).toEqual([metric('a_total', 1)]);
    expect(samples(merged([metric('a_total', 2)], left))).toEqual([{ value: 3 }]);
  });

  test('what it is made of stays as it was', () => {
    const one = metric('a_total', 1, { samples: [{ value: 1, labels: { kind: 'x' } }] });
    const before = structuredClone(one);
    merged([one], [one]);
    expect(one).toEqual(before);
  });
});
