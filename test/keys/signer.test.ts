import { calculateJwkThumbprint, compactVerify, importJWK } from 'jose';
import { describe, expect, test } from 'vitest';

import { createSigner, generateKey, publicJwk } from '../../src/keys/signer.ts';
import { survivingBytes } from '../support/garbage.ts';
import { testKeys } from '../support/keys.ts';

const { publicJwk: jwk, pkcs8 } = testKeys[0]!;

describe('a signing key', () => {
  test('is named by the thumbprint of its public half', async () => {
    expect(jwk.kid).toBe(await calculateJwkThumbprint(jwk, 'sha256'));
    // The example of RFC 7638 §3.1.
    const n =
      '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB' +
      'ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8' +
      'KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_' +
      'xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw';
    expect(publicJwk(n, 'AQAB').kid).toBe('NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs');
  });

  test('signs RS256 that an independent library accepts', async () => {
    const signer = createSigner(jwk, pkcs8);
    const text = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const input = `${text({ alg: signer.alg, kid: signer.kid })}.${text({ sub: 'somebody' })}`;
    const signature = await signer.sign(Buffer.from(input));
    const { payload } = await compactVerify(`${input}.${signature.toString('base64url')}`, await importJWK(jwk));
    expect(Buffer.from(payload).toString()).toBe('{"sub":"somebody"}');
  });

  test('shows no private half to whoever holds the signer', () => {
    const signer = createSigner(jwk, pkcs8);
    expect(Object.keys(signer).sort()).toEqual(['alg', 'kid', 'publicJwk', 'sign']);
    expect(Object.keys(signer.publicJwk).sort()).toEqual(['alg', 'e', 'kid', 'kty', 'n', 'use']);
  });

  test('keeps nothing of what waited for a signature', async () => {
    const signer = createSigner(jwk, pkcs8);
    const request = async () => {
      const state = new Array(2500).fill(0);
      await signer.sign(Buffer.from('x'));
      return state.length;
    };
    await survivingBytes(100, request);
    // Where crypto.sign is asked with a callback: a thousand and more.
    expect(await survivingBytes(300, request)).toBeLessThan(200);
  });

  test('is made with the size asked for, and works', async () => {
    const made = await generateKey(2048);
    expect(Buffer.from(made.publicJwk.n, 'base64url')).toHaveLength(256);
    expect(await createSigner(made.publicJwk, made.pkcs8).sign(Buffer.from('x'))).toHaveLength(256);
  });
});
