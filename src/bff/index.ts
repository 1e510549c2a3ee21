// Published as `@signet-idp/bff`. Imports openid-client, our verifier by the name of its package (so that an
// installation has each of its classes once), and node's own modules.

export { type Bff, createBff } from './bff.ts';
export { BffError, type BffErrorCode } from './errors.ts';
export type { BffOptions } from './options.ts';
export type { ProxyOptions } from './proxy.ts';
