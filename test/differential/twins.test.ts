// What is random may differ, and nothing else: the comparison itself, which all the others rest on.

import { expect, test } from 'vitest';
import { signCompact } from '../../src/keys/compact-jws.ts';
import { createSigner } from '../../src/keys/signer.ts';
import { testKeys } from '../support/keys.ts';
import { Twins } from './twins.ts';

const [a, b, c] = ['Aaaaaaaaaaaaaaaaaaaaaa', 'Bbbbbbbbbbbbbbbbbbbbbb', 'Cccccccccccccccccccccc'];
const [key] = testKeys;
const sign = (claims: object, typ = 'at+jwt') => signCompact(createSigner(key!.publicJwk, key!.pkcs8), typ, claims);

test('words, numbers and shapes have to be equal', () => {
  const differs = (one: unknown, other: unknown) => new Twins().differences(one, other, 'it').length > 0;
  expect(differs({ error: 'invalid_grant', of: [1, null] }, { of: [1, null], error: 'invalid_grant' })).toBe(false);
  for (const [one, other] of [
    ['invalid_grant', 'invalid_scope'],
    ['authorization_code_and_more', 'client_credentials_and_more'],
    [1, 2],
    [1, '1'],
    [{ scope: '' }, {}],
    [{ a: 1 }, { a: 1, b: undefined, c: null }],
    [[a], [a, a]],
    [a, 'a sentence'],
    [a, undefined],
    [{ exp: 1 }, { exp: 2 }],
  ]) {
    expect(differs(one, other), JSON.stringify([one, other])).toBe(true);
  }
});

test('what is random has one twin, wherever it stands, and so has what is made of it', () => {
  const twins = new Twins();
  expect(twins.differences([a, b], [b, c])).toEqual([]);
  expect(twins.differences({ jti: `${a}.${b}` }, { jti: `${b}.${c}` })).toEqual([]);
  expect(twins.differences(a, c)).toHaveLength(1);
  expect(twins.differences(c, c)).toHaveLength(1);
  expect(twins.differences([c, c], [a, b])).not.toEqual([]);
  expect(twins.differences({ status_list: { idx: 1 } }, { status_list: { idx: 9 } })).toEqual([]);
  expect(twins.differences({ status_list: { idx: 2 } }, { status_list: { idx: 9 } })).toHaveLength(1);
});

test('of a token, header and claims are compared, and whether it is signed', async () => {
  const twins = new Twins();
  twins.useKeys({ keys: [{ ...key!.publicJwk }] });
  expect(twins.differences(await sign({ jti: a, exp: 1 }), await sign({ jti: b, exp: 1 }))).toEqual([]);
  expect(twins.differences(await sign({ jti: a, exp: 1 }), await sign({ jti: b, exp: 2 }))).toHaveLength(1);
  expect(twins.differences(await sign({ jti: a }), await sign({ jti: c }))).toHaveLength(1);
  expect(twins.differences(await sign({ x: 1 }), await sign({ x: 1 }, 'rt+jwt'))).toHaveLength(1);
  const [one, other] = [await sign({ x: 1 }), await sign({ x: 1, y: 'more' })];
  expect(twins.differences(one, other)).toHaveLength(1);
  const forged = `${other.slice(0, -20)}AAAAAAAAAAAAAAAAAAAA`;
  expect(twins.differences(other, forged)).toEqual([expect.stringContaining('nobody signed')]);
});

test('rows are compared in whatever order they come', () => {
  const twins = new Twins();
  twins.pair(a, b);
  const [ones, others] = twins.sorted(
    [
      { id: c, of: a },
      { id: a, of: 'x' },
    ],
    [
      { id: b, of: 'x' },
      { id: a, of: b },
    ],
  );
  expect(twins.differences(ones, others)).toEqual([]);
});
