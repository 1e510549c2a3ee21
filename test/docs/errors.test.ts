import { readFileSync } from 'node:fs';
import { errors } from 'oidc-provider';
import { describe, expect, test } from 'vitest';
import { bffErrors, errorsPage, protocolErrors, verificationErrors } from '../../scripts/error-docs.ts';

const read = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');

test('the page of errors is what the code says (npm run docs)', () => {
  expect(read('docs/errors.md')).toBe(errorsPage());
});

describe('no code of a published package is missing there', () => {
  // The members of the table from which an error takes its status, so that there is no code without a line.
  const codesOf = (file: string, table: RegExp) =>
    [...table.exec(read(file))![1]!.matchAll(/^ {2}(\w+):/gm)].map(([, code]) => code).sort();

  test('of the verifier', () => {
    const codes = codesOf('src/verifier/errors.ts', /const answers[^=]*= \{(.*?)^\};/ms);
    expect(codes.length).toBeGreaterThan(15);
    expect(
      verificationErrors()
        .map(([code]) => code)
        .sort(),
    ).toEqual(codes);
  });

  test('of the cookie mode, each with its status', () => {
    const statuses = /const statuses = \{(.*?)^\};/ms.exec(read('src/bff/errors.ts'))![1]!;
    const inCode = [...statuses.matchAll(/(\w+): (\d+)/g)].map(([, code, status]) => `${code} ${status}`).sort();
    expect(inCode.length).toBeGreaterThan(10);
    expect(
      bffErrors()
        .map(([code, status]) => `${code} ${status}`)
        .sort(),
    ).toEqual(inCode);
  });
});

// What belongs to a feature that discovery does not announce cannot come: devices, CIBA, DPoP, credentials and so on.
const notOffered =
  /authorization_pending|credential|login_hint_token|expired_token|authorization_details|binding_message|attestation|client_metadata|dpop|nonce|proof|request_object|request_uri$|software_statement|user_code|slow_down|transaction_failed|user_id/;

test('no code that oidc-provider can answer with is missing there', () => {
  const codes = Object.values(errors as unknown as Record<string, new (message: string) => { error?: string }>)
    .flatMap((ErrorClass) => new ErrorClass('x').error ?? [])
    .filter((code) => code !== 'x' && !notOffered.test(code));
  expect(codes.length).toBeGreaterThan(15);
  expect([...new Set(codes)].filter((code) => !(code in protocolErrors))).toEqual([]);
});
