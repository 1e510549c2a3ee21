// Which passwords guessers try first, and so nobody may choose (NIST SP 800-63B-4 §3.1.1.2): what is in a list of common
// ones, what is made of the service's and the person's own words, what repeats itself or follows the keyboard. A pure
// function of the password; where it is asked, and what else is, stands in new-password.ts. No rule of composition:
// whatever is long and is none of these is good.

export type Weakness = 'common' | 'own' | 'repeated' | 'sequence';

export interface Words {
  /** Passwords that many people have, in lower case. */
  common: ReadonlySet<string>;
  /** Of these the ones that guessers combine with a name or a month. */
  commonest: ReadonlySet<string>;
  /** Names of the person, the service and the applications, in any spelling. */
  own: readonly string[];
}

/** What little stands around a word does not make it another one: so many characters, runs counted once. */
const mostAround = 8;
const fewestKinds = 5;
const shortestWord = 3;

const calendar = [
  'spring',
  'summer',
  'autumn',
  'winter',
  'january',
  'february',
  'march',
  'april',
  'may',
  'june',
  'july',
  'august',
  'september',
  'october',
  'november',
  'december',
  'monday',
  'tuesday',
  'wednesday',
  'thursday',
  'friday',
  'saturday',
  'sunday',
  'fruhling',
  'fruhjahr',
  'sommer',
  'herbst',
  'januar',
  'februar',
  'marz',
  'mai',
  'juni',
  'juli',
  'oktober',
  'dezember',
  'montag',
  'dienstag',
  'mittwoch',
  'donnerstag',
  'freitag',
  'samstag',
  'sonntag',
  'printemps',
  'ete',
  'automne',
  'hiver',
  'primavera',
  'verano',
  'otono',
  'invierno',
];
const rows = [
  'abcdefghijklmnopqrstuvwxyz',
  '1234567890',
  'qwertyuiop',
  'qwertzuiop',
  'asdfghjkl',
  'zxcvbnm',
  'yxcvbnm',
  'azertyuiop',
  'qsdfghjklm',
  'wxcvbn',
  '!@#$%^&*()',
];
const lookalikes: Readonly<Record<string, string>> = {
  '@': 'a',
  4: 'a',
  8: 'b',
  3: 'e',
  6: 'g',
  1: 'i',
  '!': 'i',
  0: 'o',
  5: 's',
  $: 's',
  7: 't',
  '+': 't',
  2: 'z',
};

/** Why nobody may choose `password`; undefined: they may. */
export function weaknessOf(password: string, { common, commonest, own }: Words): Weakness | undefined {
  const plain = folded(password);
  const bare = lettersAndDigits(plain);
  if (new Set(plain).size < fewestKinds || repeats(bare) || repeats(lettersAndDigits(trimmed(plain))))
    return 'repeated';
  if (isSequence(plain) || isSequence(bare)) return 'sequence';
  const isCommon = isIn(common);
  if (isCommon(plain) || isCommon(bare)) return 'common';
  if (isOneWord(plain, isCommon)) return 'common';
  const names = [...new Set(own.map((word) => lettersAndDigits(folded(word))))].filter(
    (word) => word.length >= shortestWord,
  );
  // The password as a whole is compared, not words within it (same section): beside a name that everybody knows, one word
  // that is not among the very first ones is enough.
  const isFirst = isIn(commonest);
  if ([bare, lettersAndDigits(spelledOut(plain))].some((text) => isMadeOf(text, names, isFirst))) return 'own';
  return isMadeOf(bare, [], isFirst) ? 'common' : undefined;
}

const isIn = (words: ReadonlySet<string>) => (word: string) => words.has(word) || words.has(spelledOut(word));

/** One spelling for what looks or reads the same: letter case, accents, forms of Unicode, what nobody sees. */
function folded(text: string): string {
  return text
    .normalize('NFKD')
    .replace(/[\p{M}\p{Cf}]/gu, '')
    .toLowerCase();
}

const lettersAndDigits = (text: string) => text.replace(/[^\p{L}\p{N}]/gu, '');
const spelledOut = (text: string) => [...text].map((letter) => lookalikes[letter] ?? letter).join('');
/** Without what is no letter at either end: "P@ssw0rd2026!" has the word p@ssw0rd. */
const trimmed = (text: string) => text.replace(/^\P{L}+|\P{L}+$/gu, '');

const repeats = (text: string) => /^(.+?)\1+$/su.test(text);

/** Of neighbours alone, or nearly: abcdefghijkl, 123456789012, qwertyuiop12. */
function isSequence(text: string): boolean {
  const letters = [...text];
  const steps = letters.filter((letter, at) => areNeighbours(letters[at - 1], letter)).length;
  return letters.length > 1 && steps >= 0.75 * (letters.length - 1);
}

function areNeighbours(one: string | undefined, other: string): boolean {
  if (one === undefined) return false;
  if (one === other || (one === '9' && other === '0') || (one === '0' && other === '1')) return true;
  return rows.some(
    (row) => row.includes(one) && row.includes(other) && Math.abs(row.indexOf(one) - row.indexOf(other)) === 1,
  );
}

function isOneWord(plain: string, isCommon: (word: string) => boolean): boolean {
  const word = trimmed(plain);
  const around = plain.length - word.length;
  if (word === '' || around === 0) return false;
  const [before = '', after = ''] = plain.split(word);
  return runs(before) + runs(after) <= mostAround && (isCommon(word) || isCommon(lettersAndDigits(word)));
}

/** Own words and the calendar's, and hardly anything else: a year, a few signs, one of the first words of any guesser. */
function isMadeOf(text: string, names: readonly string[], isFirst: (word: string) => boolean): boolean {
  const known = [...names, ...calendar].toSorted((a, b) => b.length - a.length);
  let rest = text;
  let hasName = false;
  for (const word of known) {
    if (!rest.includes(word)) continue;
    hasName ||= names.includes(word) || names.length === 0;
    rest = rest.replaceAll(word, ' ');
  }
  if (!hasName) return false;
  const left = rest.replace(/(?:19|20)\d\d/g, ' ').replaceAll(' ', '');
  const word = trimmed(left);
  return runs(left) <= mostAround && (word.length < 4 || isFirst(word));
}

/** How many characters, those that follow their neighbour counted with it. */
function runs(text: string): number {
  const letters = [...text];
  return letters.filter((letter, at) => !areNeighbours(letters[at - 1], letter)).length;
}
