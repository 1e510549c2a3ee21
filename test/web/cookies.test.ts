import { describe, expect, test } from 'vitest';
import { cookiesIn } from '../../src/web/cookies.ts';

describe('the cookies of a request', () => {
  test.each([
    ['none', '', []],
    [
      'two, oldest first',
      'a=1; b=2',
      [
        ['a', '1'],
        ['b', '2'],
      ],
    ],
    ['a value with an equals sign', 'a=1=2', [['a', '1=2']]],
    [
      'no space in between',
      'a=1;b=2',
      [
        ['a', '1'],
        ['b', '2'],
      ],
    ],
    ['a word alone, which is no cookie', 'a; b=2', [['b', '2']]],
    ['two of one name, which are as none', 'a=1; b=2; a=1', [['b', '2']]],
    ['three of one name', 'a=1; a=2; a=3', []],
    ['a name that objects keep for themselves', '__proto__=1', [['__proto__', '1']]],
  ])('%s', (_name, header, cookies) => {
    expect([...cookiesIn(header)]).toEqual(cookies);
  });
});
