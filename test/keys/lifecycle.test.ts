import { describe, expect, test } from 'vitest';
import type { KeyTimes, Step } from '../../src/keys/lifecycle.ts';
import { nextStep, spentAt, stateOf } from '../../src/keys/lifecycle.ts';
import type { KeyPolicy } from '../../src/keys/policy.ts';
import { checkPolicy } from '../../src/keys/policy.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

const policy: KeyPolicy = {
  rotateEvery: 90 * 86_400,
  publishAhead: 86_400,
  jwksMaxAge: 300,
  pollEvery: 30,
  clockSkew: 30,
  longestLife: 14 * 86_400,
};
const afterlife = 6 * minute; // 300 + 30 + 30 s

function key(kid: string, times: Partial<KeyTimes>): KeyTimes {
  return {
    kid,
    preparedAt: 0,
    activatedAt: null,
    retiredAt: null,
    destroyedAt: null,
    revokedAt: null,
    longestLife: 14 * 86_400,
    ...times,
  };
}

const active = key('a', { activatedAt: 0 });
const prepared = key('b', { preparedAt: 0 });
const retired = key('r', { activatedAt: -90 * day, retiredAt: 0 });
// An emergency on the ninth day: the prepared key took over.
const stolen = { ...active, revokedAt: 9 * day };
const heir = { ...prepared, activatedAt: 9 * day };

describe('what is due', () => {
  const table: [moment: string, keys: KeyTimes[], now: number, due: Step][] = [
    ['with no key at all', [], 0, { do: 'bootstrap' }],
    ['with the only key revoked', [key('a', { activatedAt: 0, revokedAt: 5 })], 9, { do: 'bootstrap' }],
    ['with only a retired key', [retired], 9, { do: 'bootstrap' }],
    ['with nothing active, a prepared key signs at once', [prepared], 0, { do: 'activate', kid: 'b' }],
    ['from the first moment of the first key, the next one', [active], 0, { do: 'prepare' }],
    ['whenever there is none', [active], 200 * day, { do: 'prepare' }],
    ['once it is published', [active, prepared], 0, { do: 'wait', until: 90 * day, next: 'activate' }],
    [
      'a millisecond before rotation',
      [active, prepared],
      90 * day - 1,
      { do: 'wait', until: 90 * day, next: 'activate' },
    ],
    ['at rotation', [active, prepared], 90 * day, { do: 'activate', kid: 'b' }],
    [
      'after it, the next one again',
      [key('b', { activatedAt: 90 * day }), { ...active, retiredAt: 90 * day }],
      90 * day,
      { do: 'prepare' },
    ],
    [
      'published late: the whole lead all the same',
      [active, key('b', { preparedAt: 95 * day })],
      95 * day,
      { do: 'wait', until: 96 * day, next: 'activate' },
    ],
    ['published late, lead over', [active, key('b', { preparedAt: 95 * day })], 96 * day, { do: 'activate', kid: 'b' }],
    [
      'beside a retired key',
      [active, prepared, retired],
      0,
      { do: 'wait', until: 14 * day + afterlife, next: 'destroy' },
    ],
    [
      'a millisecond before its last token ends',
      [active, prepared, retired],
      14 * day + afterlife - 1,
      { do: 'wait', until: 14 * day + afterlife, next: 'destroy' },
    ],
    [
      'when nothing it signed can be valid',
      [active, prepared, retired],
      14 * day + afterlife,
      { do: 'destroy', kid: 'r' },
    ],
    [
      'a key that once signed longer lives',
      [active, prepared, { ...retired, longestLife: 30 * 86_400 }],
      14 * day + afterlife,
      { do: 'wait', until: 30 * day + afterlife, next: 'destroy' },
    ],
    [
      'two retired keys: the one that is spent first',
      [active, prepared, retired, key('s', { activatedAt: -9, retiredAt: -5 })],
      20 * day,
      { do: 'destroy', kid: 's' },
    ],
    ['a rotation goes before tidying', [active, prepared, retired], 90 * day, { do: 'activate', kid: 'b' }],
    ['the next key goes before tidying', [active, retired], 20 * day, { do: 'prepare' }],
    [
      'what is destroyed stays so',
      [active, prepared, { ...retired, destroyedAt: 15 * day }],
      20 * day,
      { do: 'wait', until: 90 * day, next: 'activate' },
    ],
    [
      'a key revoked before the active one was made asks for nothing',
      [active, prepared, { ...retired, revokedAt: -1 }],
      20 * day,
      { do: 'wait', until: 90 * day, next: 'activate' },
    ],
    ['a revoked prepared key is replaced', [active, { ...prepared, revokedAt: 9 * day }], 9 * day, { do: 'prepare' }],
    [
      'after an emergency, the next one again',
      [
        { ...active, revokedAt: 9 * day },
        { ...prepared, activatedAt: 9 * day },
      ],
      9 * day,
      { do: 'prepare' },
    ],
    [
      'after an emergency, the next one as soon as it is ready',
      [stolen, heir, key('c', { preparedAt: 9 * day })],
      9 * day,
      { do: 'wait', until: 10 * day, next: 'activate' },
    ],
    ['and then at once', [stolen, heir, key('c', { preparedAt: 9 * day })], 10 * day, { do: 'activate', kid: 'c' }],
    [
      'the key after that has its whole turn again',
      [
        stolen,
        { ...heir, retiredAt: 10 * day },
        key('c', { preparedAt: 9 * day, activatedAt: 10 * day }),
        key('d', { preparedAt: 10 * day }),
      ],
      10 * day,
      { do: 'wait', until: 24 * day + afterlife, next: 'destroy' },
    ],
    [
      'after an emergency with nothing prepared, the key that was made for it is known to nobody',
      [stolen, key('n', { preparedAt: 9 * day, activatedAt: 9 * day }), key('c', { preparedAt: 9 * day })],
      9 * day,
      { do: 'wait', until: 99 * day, next: 'activate' },
    ],
    [
      'where a retired key was revoked, the prepared one has its turn, which verifiers know',
      [{ ...retired, revokedAt: 9 * day }, active, prepared],
      9 * day,
      { do: 'activate', kid: 'b' },
    ],
    [
      'and the one after it, which they do not, as soon as it is ready',
      [
        { ...retired, revokedAt: 9 * day },
        { ...active, retiredAt: 9 * day },
        { ...prepared, activatedAt: 9 * day },
        key('c', { preparedAt: 9 * day }),
      ],
      9 * day,
      { do: 'wait', until: 10 * day, next: 'activate' },
    ],
    [
      'where the prepared key was revoked, its replacement as soon as it is ready',
      [active, { ...prepared, revokedAt: 9 * day }, key('c', { preparedAt: 9 * day })],
      10 * day,
      { do: 'activate', kid: 'c' },
    ],
  ];

  test.each(table)('%s', (_moment, keys, now, due) => {
    expect(nextStep(keys, now, policy)).toEqual(due);
  });
});

describe('what is due, where a key waits until it was seen', () => {
  const patient = { ...policy, patience: 7 * 86_400 };
  const unseenBy = ['orders (192.0.2.1)', 'stock (192.0.2.7)'];
  const waiting = { do: 'wait', until: 97 * day, next: 'activate', waitingFor: unseenBy };
  const activate: Step = { do: 'activate', kid: 'b' };
  const table: [moment: string, keys: KeyTimes[], now: number, unseenBy: string[], due: object][] = [
    [
      'before its time nobody is waited for',
      [active, prepared],
      90 * day - 1,
      unseenBy,
      { do: 'wait', until: 90 * day, next: 'activate' },
    ],
    ['at its time, with everybody having it', [active, prepared], 90 * day, [], activate],
    ['at its time, with two who have not', [active, prepared], 90 * day, unseenBy, waiting],
    ['a millisecond before its limit', [active, prepared], 97 * day - 1, unseenBy, waiting],
    ['at its limit', [active, prepared], 97 * day, unseenBy, activate],
    [
      'published late, the limit counts from when it was ready',
      [active, key('b', { preparedAt: 95 * day })],
      96 * day,
      unseenBy,
      { ...waiting, until: 103 * day },
    ],
    ['with nothing active it signs at once', [prepared], 0, unseenBy, activate],
    [
      'a spent key leaves meanwhile',
      [active, prepared, { ...retired, retiredAt: 77 * day }],
      92 * day,
      unseenBy,
      { do: 'destroy', kid: 'r' },
    ],
    [
      'and is waited for',
      [active, prepared, { ...retired, retiredAt: 77 * day }],
      90 * day,
      unseenBy,
      { do: 'wait', until: 91 * day + afterlife, next: 'destroy', waitingFor: unseenBy },
    ],
    ['the next key is prepared all the same', [active], 0, unseenBy, { do: 'prepare' }],
    [
      'after an emergency nobody is waited for',
      [stolen, heir, key('c', { preparedAt: 9 * day })],
      10 * day,
      unseenBy,
      { do: 'activate', kid: 'c' },
    ],
  ];

  test.each(table)('%s', (_moment, keys, now, unseen, due) => {
    expect(nextStep(keys, now, patient, unseen)).toEqual(due);
  });

  test('a policy without patience does not care who has seen it', () => {
    expect(nextStep([active, prepared], 90 * day, policy, unseenBy)).toEqual(activate);
  });
});

describe('a key', () => {
  test('has the state that its last timestamp says', () => {
    const states = [
      key('k', {}),
      key('k', { activatedAt: 1 }),
      key('k', { activatedAt: 1, retiredAt: 2 }),
      key('k', { activatedAt: 1, retiredAt: 2, destroyedAt: 3 }),
      key('k', { revokedAt: 1 }),
      key('k', { activatedAt: 1, revokedAt: 2 }),
      key('k', { activatedAt: 1, retiredAt: 2, revokedAt: 3 }),
    ].map(stateOf);
    expect(states).toEqual(['prepared', 'active', 'retired', 'destroyed', 'revoked', 'revoked', 'revoked']);
  });

  test('is spent when its longest token, the slowest replica, the oldest cache and the worst clock are through', () => {
    expect(spentAt({ ...retired, retiredAt: 1000 }, policy)).toBe(1000 + (14 * 86_400 + 30 + 300 + 30) * 1000);
  });
});

describe('a policy', () => {
  test('with the defaults is sound', () => {
    expect(checkPolicy(policy)).toEqual([]);
  });

  test('that publishes too late is refused, with the sum in the sentence', () => {
    const [problem, ...others] = checkPolicy({ ...policy, publishAhead: 359 });
    expect(others).toEqual([]);
    expect(problem).toContain('publishAhead is 359 s');
    expect(problem).toContain('300 + 30 + 30 = 360');
    expect(checkPolicy({ ...policy, publishAhead: 360 })).toEqual([]);
  });

  test('that rotates faster than it publishes is refused', () => {
    expect(checkPolicy({ ...policy, rotateEvery: 3600 })).toEqual([expect.stringContaining('3600 <= 86400')]);
  });

  test('tells all its problems at once', () => {
    expect(checkPolicy({ ...policy, publishAhead: 100, rotateEvery: 10 })).toHaveLength(2);
  });
});
