// Published as `@signet-idp/verifier`. Imports jose and node's own modules, nothing of the server: a service that verifies
// tokens does not carry an identity provider with it.

export { bearerToken } from './bearer.ts';
export type { AccessToken } from './claims.ts';
export type { RedisReader } from './denylist.ts';
export { VerificationError, type VerificationErrorCode } from './errors.ts';
export type { VerifierOptions } from './options.ts';
export type { Requirements } from './privileges.ts';
export { createVerifier, type Verifier } from './verifier.ts';
