// What must not compile: `npm run check` compiles this file, and an expected error that does not come is one. An option
// that decides whose tokens are good can be neither forgotten nor undefined by accident.

import { type BffOptions, createBff } from '@signet-idp/bff';
import { createVerifier, type Verifier, type VerifierOptions } from '@signet-idp/verifier';
import { requireToken } from '@signet-idp/verifier/express';

const issuer = 'https://id.example.com';
const audience = 'https://orders.example.com';

export function verifiers(): Verifier[] {
  // @ts-expect-error: audience is required
  createVerifier({ issuer });
  // @ts-expect-error: undefined is not the way out of an audience; null is
  createVerifier({ issuer, audience: undefined });
  // @ts-expect-error: issuer is required
  createVerifier({ audience });
  // @ts-expect-error: an issuer from the environment may be absent
  createVerifier({ issuer: process.env.ISSUER, audience });
  // @ts-expect-error: options are required
  createVerifier();
  // @ts-expect-error: a slip in a name
  createVerifier({ issuer, audiance: audience, audience: null });
  // @ts-expect-error: revocation is one of three
  createVerifier({ issuer, audience, revocation: 'off' });
  // @ts-expect-error: a verifier is required
  requireToken();
  const options: VerifierOptions = { issuer, audience };
  return [createVerifier(options), createVerifier({ issuer, audience: null })];
}

export function bffs(cookieKeys: string[]) {
  const whole: BffOptions = {
    issuer,
    clientId: 'shop',
    // From the environment: their absence is refused when the process starts.
    clientSecret: process.env.CLIENT_SECRET,
    baseUrl: 'https://shop.example.com',
    cookieKeys: [...cookieKeys, process.env.COOKIE_KEY],
  };
  const { issuer: _issuer, ...withoutIssuer } = whole;
  // @ts-expect-error: issuer is required
  createBff(withoutIssuer);
  const { clientId: _clientId, ...withoutClient } = whole;
  // @ts-expect-error: clientId is required
  createBff(withoutClient);
  const { clientSecret: _clientSecret, ...withoutSecret } = whole;
  // @ts-expect-error: clientSecret is required, if only as a variable that may be absent
  createBff(withoutSecret);
  const { baseUrl: _baseUrl, ...withoutBase } = whole;
  // @ts-expect-error: baseUrl is required
  createBff(withoutBase);
  const { cookieKeys: _cookieKeys, ...withoutKeys } = whole;
  // @ts-expect-error: cookieKeys are required
  createBff(withoutKeys);
  // @ts-expect-error: a proxy needs both ends
  createBff(whole).proxyTo({ from: '/api' });
  return createBff(whole);
}
