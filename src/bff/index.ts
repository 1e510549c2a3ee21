// Published as `signet/bff`. Imports openid-client, our verifier and node's own modules, nothing of the server.

export { type Bff, createBff } from './bff.ts';
export { BffError, type BffErrorCode } from './errors.ts';
export type { BffOptions } from './options.ts';
export type { ProxyOptions } from './proxy.ts';
