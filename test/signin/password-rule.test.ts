import { dictionary } from '@zxcvbn-ts/language-common';
import { assert, constantFrom, integer, property, tuple, uniqueArray } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { weaknessOf } from '../../src/signin/password-rule.ts';

const common = new Set(dictionary['passwords-common']);
const commonest = new Set(dictionary['passwords-common'].slice(0, 1000));
const own = [
  'Signet',
  'The shop',
  'The',
  'shop',
  'Orders',
  'Wiki',
  'ada@example.com',
  'ada',
  'example',
  'Ada Lovelace',
  'Lovelace',
  'id.acme.com',
  'acme',
];
const weakness = (password: string) => weaknessOf(password, { common, commonest, own });

describe('what guessers try first is told for what it is (NIST SP 800-63B-4 §3.1.1.2)', () => {
  test.each([
    [
      'common',
      [
        'password1234',
        'PASSWORD1234',
        'Password 1234',
        'p4ssw0rd1234',
        'P@ssw0rd2026!',
        '!!iloveyou2!!',
        'pass-word-1234',
        'ｐａｓｓｗｏｒｄ１２３４',
        'pässwörd1234',
        'pass\u200bword1234',
        'sommer2026!!',
        'Summer-2026-!',
        'Winter2025/26',
        'Herbst 2024 !!',
        'october2026october',
        'dragon123456789',
      ],
    ],
    [
      'own',
      [
        'ada@example.com',
        'ADA@EXAMPLE.COM',
        'ada.example.com',
        'adalovelace1',
        'Ada-Lovelace-99',
        'lovelace2026!',
        'signet2026!!',
        'signetsignet1',
        'the shop 2026',
        'shop-password1',
        'acme.summer.26',
        'id.acme.com!!',
        'l0vel4ce2026',
        'Orders!dragon',
        'orders wiki shop',
        'welcome2wiki',
        'orders monday 1',
      ],
    ],
    [
      'repeated',
      [
        'aaaaaaaaaaaa',
        'abababababab',
        'ada ada ada ada',
        'violetviolet',
        'violet violet 12',
        'a1a1a1a1a1a1b',
        '            ',
      ],
    ],
    [
      'sequence',
      ['abcdefghijkl', 'mnopqrstuvwx', '123456789012', 'qwertyuiop12', 'lkjhgfdsaqwe', 'abcd1234efgh', 'zyxwvutsrqpo'],
    ],
  ] as const)('%s', (kind, passwords) => {
    for (const password of passwords)
      expect.soft([password, weakness(password)]).toEqual([password, expect.any(String)]);
    const told = passwords.map(weakness);
    expect(told.filter((each) => each === kind).length).toBeGreaterThan(passwords.length / 2);
  });
});

describe('whatever else is long is good', () => {
  test.each([
    'a long enough password',
    'violet harbour lantern',
    'correct horse battery',
    'what the thief would like',
    'the first of two choices',
    'a password of my own',
    'Ada likes green umbrellas',
    'shop floor, third window',
    'mein Hund mag keine Katzen',
    '7Hq-pR2v-x9Kd-Wm4t',
    'trombone7engine',
    'violet orders',
    'Orders-lantern',
    'mail the violet',
    'violet wiki 42',
    'lovelace violet',
    'record ether',
    'satin tuesday',
    'delivery monday',
    'свобода и чай с мёдом',
    '我喜欢喝绿茶和读书和散步在公园里',
    'summer rain on tin roofs',
  ])('%s', (password) => {
    expect(weakness(password)).toBeUndefined();
  });

  test('every password of a password manager, and three words that have nothing to do with one another', () => {
    const letters = [...'abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_.'];
    assert(
      property(
        uniqueArray(constantFrom(...letters), { minLength: 16, maxLength: 20 }),
        (password) => weakness(password.join('')) === undefined || isNearlyInOrder(password),
      ),
    );
    const words = dictionary['diceware-common'].filter((word) => word.length > 4 && !own.includes(word));
    assert(
      property(
        tuple(constantFrom(...words), constantFrom(...words), constantFrom(...words)),
        (three) =>
          new Set(three).size < 3 || weakness(three.join(' ')) === undefined || isNearlyInOrder([...three.join('')]),
      ),
      { numRuns: 200 },
    );
  });

  test('a word of the list stays weak in any letter case and with few digits around it', () => {
    const listed = [...common].filter((word) => /^[a-z]{8,}$/.test(word)).slice(0, 2000);
    assert(
      property(
        constantFrom(...listed),
        integer({ min: 0, max: 9999 }),
        constantFrom('', '!', ' ', '-'),
        (word, digits, sign) => weakness(`${word[0]!.toUpperCase()}${word.slice(1)}${sign}${digits}`) !== undefined,
      ),
      { numRuns: 300 },
    );
  });
});

/** What a generator makes once in a while, and is then refused. */
function isNearlyInOrder(letters: string[]): boolean {
  const steps = letters.filter(
    (letter, at) => at > 0 && Math.abs(letter.charCodeAt(0) - letters[at - 1]!.charCodeAt(0)) < 2,
  );
  return steps.length > letters.length / 2;
}
