import { describe, expect, test } from 'vitest';
import { bearerToken } from '../../src/verifier/index.ts';

describe('an Authorization header', () => {
  test.each(['Bearer abc', 'bearer abc', 'BEARER abc', 'Bearer   abc'])('%j has a token', (header) => {
    expect(bearerToken(header)).toBe('abc');
  });

  test('may be handed over as the list of its values', () => {
    expect(bearerToken(['Bearer a-b._~+/9=='])).toBe('a-b._~+/9==');
  });

  test.each([[undefined], [''], ['Basic abc'], ['Bearerabc'], ['Token Bearer abc'], [' Bearer abc'], [[]]])(
    '%j has no bearer token',
    (header) => {
      expect(() => bearerToken(header)).toThrow(
        expect.objectContaining({
          code: 'missing_token',
          status: 401,
          wwwAuthenticate: 'Bearer realm="api"',
        }),
      );
    },
  );

  test.each([
    ['Bearer'],
    ['Bearer '],
    ['Bearer a b'],
    ['Bearer a,b'],
    ['Bearer a, Bearer b'],
    ['Bearer\ta'],
    ['Bearer a '],
    ['Bearer "a"'],
    ['Bearer a=b'],
    ['Bearer a\r\nX: y'],
    ['Bearer ü'],
    [['Bearer a', 'Bearer a']],
    [['Bearer a', 'Basic b']],
  ])('%j is a bad request', (header) => {
    const refusal = { code: 'invalid_request', status: 400, error: 'invalid_request' };
    expect(() => bearerToken(header)).toThrow(expect.objectContaining(refusal));
  });
});
