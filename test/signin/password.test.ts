import bcrypt from 'bcrypt';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { createPasswords, oneTimePassword } from '../../src/signin/password.ts';

const cost = 5;
const passwords = createPasswords({ cost, minLength: 12 });
const right = 'a long enough password';

afterEach(() => vi.restoreAllMocks());

/** bcrypt at work: how many rounds it was asked for in all, and how many calls were under way at once. */
function watchBcrypt() {
  const seen = { rounds: 0, atOnce: 0, most: 0 };
  const { hash, compare } = bcrypt;
  const counted = async <T>(rounds: number, work: () => Promise<T>): Promise<T> => {
    seen.rounds += 2 ** rounds;
    seen.atOnce += 1;
    seen.most = Math.max(seen.most, seen.atOnce);
    return work().finally(() => {
      seen.atOnce -= 1;
    });
  };
  vi.spyOn(bcrypt, 'hash').mockImplementation(((data: string, rounds: number) =>
    counted(rounds, () => hash(data, rounds))) as never);
  vi.spyOn(bcrypt, 'compare').mockImplementation(((data: string, hashed: string) =>
    counted(bcrypt.getRounds(hashed), () => compare(data, hashed))) as never);
  return seen;
}

describe('a password is chosen', () => {
  test('it is kept as a bcrypt hash of the configured cost, with a salt of its own', async () => {
    const [one, other] = await Promise.all([passwords.hash(right), passwords.hash(right)]);
    expect(one).toMatch(/^\$2b\$05\$/);
    expect(one).not.toBe(other);
    expect(await passwords.check(right, one)).toEqual({ ok: true });
  });

  test.each([
    ['one character too few', 'a'.repeat(11), 'at least 12 characters'],
    ['more bytes than bcrypt reads', 'a'.repeat(73), 'at most 72 bytes'],
    ['fewer characters than 72, but more bytes', 'é'.repeat(37), 'at most 72 bytes'],
    ['two lines, of which a page would take none', 'the first line\nand another', 'one line'],
    ['few characters that look like many', '👩‍💻'.normalize().slice(0, 2).repeat(11), 'at least 12 characters'],
  ])('%s is refused, in a sentence for the person', async (_what, password, sentence) => {
    expect(passwords.problemWith(password)).toContain(sentence);
    await expect(passwords.hash(password)).rejects.toMatchObject({ code: 'password_unacceptable', status: 400 });
  });

  test('72 bytes, spaces and every script are fine', async () => {
    for (const password of ['a'.repeat(72), '            ', 'пароль из слов', '正しい馬電池ホチキス釘を打つ']) {
      expect(passwords.problemWith(password)).toBeUndefined();
      expect((await passwords.check(password, await passwords.hash(password))).ok).toBe(true);
    }
  });

  test('hashing does not stop the event loop', async () => {
    const slow = createPasswords({ cost: 11, minLength: 12 });
    let turns = 0;
    const ticking = setInterval(() => {
      turns += 1;
    }, 1);
    await slow.hash(right);
    clearInterval(ticking);
    expect(turns).toBeGreaterThan(3);
  });
});

describe('a password is checked', () => {
  test('another one is not the same: longer, shorter, other case, with a zero byte, none', async () => {
    const hash = await passwords.hash(right);
    for (const wrong of [`${right} `, right.slice(0, -1), right.toUpperCase(), `${right}\0`, `${right}\0more`, '']) {
      expect(await passwords.check(wrong, hash), JSON.stringify(wrong)).toEqual({ ok: false });
    }
  });

  test('whatever follows 72 bytes is never ignored', async () => {
    const hash = await passwords.hash('a'.repeat(72));
    expect(await passwords.check('a'.repeat(73), hash)).toEqual({ ok: false });
    expect(await passwords.check('a'.repeat(10_000), hash)).toEqual({ ok: false });
    // Of a long one, a part is compared for the sake of time; being right in that part is not enough.
    const short = await bcrypt.hash('a'.repeat(18), cost);
    expect(await passwords.check('a'.repeat(100), short)).toEqual({ ok: false });
  });

  test('an accented letter is the same from every keyboard', async () => {
    const hash = await passwords.hash('caf\u00e9 caf\u00e9 caf\u00e9');
    expect((await passwords.check('cafe\u0301 cafe\u0301 cafe\u0301', hash)).ok).toBe(true);
  });

  test('the right one under another cost comes back hashed anew; under the configured cost it does not', async () => {
    for (const before of [4, 6]) {
      const { ok, rehashed } = await passwords.check(right, await bcrypt.hash(right, before));
      expect(ok).toBe(true);
      expect(bcrypt.getRounds(rehashed!)).toBe(cost);
      expect(await passwords.check(right, rehashed)).toEqual({ ok: true });
    }
  });

  test.each([
    ['a person who does not exist', undefined],
    ['a wrong password', 8],
    ['a wrong password under an older, lower cost', 5],
  ])('%s costs as much as any other refusal', async (_who, rounds) => {
    const hash = rounds === undefined ? undefined : await bcrypt.hash(right, rounds);
    for (const guess of ['not the password', 'x'.repeat(73), '']) {
      const seen = watchBcrypt();
      expect(await createPasswords({ cost: 8, minLength: 12 }).check(guess, hash)).toEqual({ ok: false });
      expect(seen.rounds).toBe(2 ** 8);
      vi.restoreAllMocks();
    }
  });
});

describe('many people sign in at the same moment', () => {
  test('two at once, so that signatures find room in the thread pool; the others wait and are answered', async () => {
    const hash = await passwords.hash(right);
    const seen = watchBcrypt();
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, index) => passwords.check(index % 2 ? right : 'not the password', hash)),
    );
    expect(seen.most).toBe(2);
    expect(answers.filter(({ ok }) => ok)).toHaveLength(20);
  });

  const stranger = (address: string, block = address) => ({ isProved: false, from: [block, address] });
  const known = (device: string) => ({ isProved: true, from: [device] });
  /** Which of these are answered, in the order of the answers; the others are told that it is busy. */
  async function answered(askers: Array<{ isProved: boolean; from: string[] }>, workers = 1): Promise<string[]> {
    const fresh = createPasswords({ cost: 4, minLength: 12, workers });
    const order: string[] = [];
    const answers = await Promise.allSettled(
      askers.map(async (asker) => {
        await fresh.check(right, undefined, asker);
        order.push(asker.from.at(-1)!);
      }),
    );
    for (const answer of answers) {
      if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: 'busy', status: 503 });
    }
    expect(await fresh.check(right, undefined, askers[0])).toEqual({ ok: false });
    return order;
  }
  const times = <T>(count: number, one: (index: number) => T): T[] => Array.from({ length: count }, (_, at) => one(at));

  test('more than would be answered in time are told that it is busy, and the next ones are served again', async () => {
    // Two at work, and those that wait.
    expect(await answered(times(210, (at) => stranger(`192.0.2.${at}`)))).toHaveLength(102);
    expect(await answered(times(210, (at) => known(`browser ${at}`)))).toHaveLength(52);
  });

  test('of four workers each has its share: one at work, and a quarter of the places', async () => {
    expect(
      await answered(
        times(210, (at) => stranger(`192.0.2.${at}`)),
        4,
      ),
    ).toHaveLength(1 + 25);
    expect(
      await answered(
        times(210, (at) => known(`browser ${at}`)),
        4,
      ),
    ).toHaveLength(1 + 12);
  });

  test('a browser that is known goes first, and has its place when all others are taken', async () => {
    const order = await answered([...times(240, (at) => stranger(`192.0.2.${at % 12}`)), known('hers')]);
    expect(order.indexOf('hers')).toBeGreaterThan(-1);
    expect(order.indexOf('hers')).toBeLessThan(4);
  });

  test('browsers that are known do not keep everybody else out', async () => {
    const order = await answered([...times(50, (at) => known(`browser ${at % 2}`)), stranger('192.0.2.1')]);
    expect(order.indexOf('192.0.2.1')).toBeGreaterThan(-1);
    expect(order.indexOf('192.0.2.1')).toBeLessThan(8);
  });

  test.each([
    ['one address', (_at: number) => stranger('203.0.113.1')],
    ['twelve addresses', (at: number) => stranger(`203.0.113.${at % 12}`, '203.0.0.0/16')],
    ['a thousand addresses of one block', (at: number) => stranger(`203.0.${at % 1_000}.1`, '203.0.0.0/16')],
  ])('a newcomer is served soon, however many wait from %s', async (_where, flood) => {
    const order = await answered([...times(400, flood), stranger('192.0.2.1', '192.0.0.0/16')]);
    expect(order.indexOf('192.0.2.1')).toBeGreaterThan(-1);
    expect(order.indexOf('192.0.2.1')).toBeLessThan(6);
  });

  test('who is alone may use every place', async () => {
    expect(await answered(times(102, () => stranger('192.0.2.1')))).toHaveLength(102);
  });

  test('a check that fails leaves its place to the next one', async () => {
    const fresh = createPasswords({ cost: 4, minLength: 12 });
    await Promise.allSettled([1, 2, 3].map(() => fresh.check(right, 'not a hash')));
    expect(await fresh.check(right, await fresh.hash(right))).toEqual({ ok: true });
  });
});

describe('a one-time password', () => {
  const many = Array.from({ length: 2_000 }, oneTimePassword);

  test('is five groups of four letters and digits that nobody mistakes for one another', () => {
    for (const one of many) expect(one).toMatch(/^[a-hj-km-np-z2-9]{4}(-[a-hj-km-np-z2-9]{4}){4}$/);
  });

  test('has nearly 100 bits: all 31 characters, equally often, and never twice the same', () => {
    expect(new Set(many).size).toBe(many.length);
    const counts = new Map<string, number>();
    for (const letter of many.join('').replaceAll('-', '')) counts.set(letter, (counts.get(letter) ?? 0) + 1);
    expect(counts.size).toBe(31);
    const expected = (many.length * 20) / 31;
    // Chi-square with 30 degrees of freedom: above 90 once in ten million runs.
    const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    expect(chiSquare).toBeLessThan(90);
    expect(20 * Math.log2(31)).toBeGreaterThan(99);
  });

  test('can be chosen by nobody as too short or too long', () => {
    expect(createPasswords({ cost: 4, minLength: 24 }).problemWith(oneTimePassword())).toBeUndefined();
  });
});
