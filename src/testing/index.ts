// Published as `@signet-idp/testing`: an issuer in the memory of a service's own tests. Imports node's own
// modules and our verifier's, and is not for use outside tests: its first private key is in this package for all to read.

export { type Claims, type Forgery, forgeries } from './forgeries.ts';
export { createTestIssuer, type TestIssuer, type TestIssuerOptions } from './issuer.ts';
export type { TestJwk } from './keys.ts';
