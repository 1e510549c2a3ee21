// Published as `@signet-idp/verifier/internal`: what our other packages share with the verifier, of the same version to
// the digit. It is no interface for anybody else, and may change in any release.

export { readCompact, writeCompact } from './compact.ts';
export { longestTimerSeconds } from './components.ts';
export { uniqueCookies } from './cookies.ts';
export { isNavigation, refuseForgery } from './csrf.ts';
export { checkAddress, checkIssuer } from './fetch.ts';
export { optionsCheck } from './known-options.ts';
