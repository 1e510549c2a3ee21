// createVerifier: puts the steps in order: shape, header, claims, key, signature, revocation, privileges. What the
// options must be is options.ts, and how they are read components.ts.

import { type AccessToken, readClaims, readHeader } from './claims.ts';
import { readCompact } from './compact.ts';
import { createComponents } from './components.ts';
import { checkSignature } from './keys.ts';
import type { VerifierOptions } from './options.ts';
import { type Requirements, readRequirements, requirePrivileges } from './privileges.ts';
import { copyOf, createProvenTokens, type Proven, tokenDigest } from './proven-tokens.ts';

export interface Verifier {
  /**
   * Verifies an access token (RFC 9068 §4) offline, against the issuer's published keys.
   *
   * With a known key and a known status list nothing is awaited. A token with an unknown key waits for the issuer's
   * newest keys: usually one request, at worst the cool-down and two requests (15 s with the defaults), and 1000 tokens
   * may wait at a time; beyond that, or when the issuer does not answer, the code is `keys_unavailable`, not
   * `unknown_key`.
   *
   * The first token of a status list waits for that list: one request, shared; where it cannot be had, the code is
   * `revocation_unavailable`.
   *
   * The checks run from cheap to dear: a forged token may well be refused as `expired`. Of a token that was seen
   * before, the signature is not computed again; its time, its key and its revocation are looked at each time.
   *
   * @param jwt compact form, without `Bearer `; `bearerToken()` reads the header
   * @param required scopes and roles the token must all have
   * @throws {VerificationError} `code` says why, `status` and `wwwAuthenticate` how to answer
   * @example
   * const token = await verifier.verify(jwt, { scope: 'orders:read' });
   * console.log(token.sub, token.roles);
   */
  verify(jwt: string, required?: Requirements): Promise<AccessToken>;
  /**
   * Fetches the keys now, so that the first request does not wait and a wrong `issuer` shows at start. Optional.
   * @throws {VerificationError} `keys_unavailable`; its `cause` says what went wrong
   */
  ready(): Promise<void>;
  /** Stops background refresh and requests under way. Afterwards the verifier refuses with `keys_unavailable`. */
  close(): void;
}

/**
 * A verifier of the access tokens that `issuer` makes for `audience`. Make one per process and keep it: it caches
 * the keys. Nothing is fetched before the first `verify` or `ready`.
 *
 * @throws {TypeError} when an option is missing or unsafe
 * @example
 * const verifier = createVerifier({ issuer: 'https://id.example.com', audience: 'https://orders.example.com' });
 * const token = await verifier.verify(bearerToken(request.headers.authorization));
 */
export function createVerifier(options: VerifierOptions): Verifier {
  const { keys, revocation, expected, maxTokenBytes, maxRememberedTokens, now } = createComponents(options);
  const results = maxRememberedTokens > 0 ? createProvenTokens(maxRememberedTokens) : undefined;

  function proveOrRecall(jwt: string): Proven | Promise<Proven> {
    if (results === undefined || typeof jwt !== 'string' || jwt.length > maxTokenBytes) return prove(jwt);
    const name = tokenDigest(jwt);
    const known = results.get(name);
    if (known !== undefined && stillHolds(known)) return known;
    const remember = (proven: Proven) => {
      results.set(name, proven);
      return proven;
    };
    const proven = prove(jwt);
    return proven instanceof Promise ? proven.then(remember) : remember(proven);
  }

  // A key that the issuer took back, or that was replaced under the same name, is another key or none.
  function stillHolds({ goodFrom, goodUntil, kid, key }: Proven): boolean {
    const seconds = now() / 1000;
    return seconds >= goodFrom && seconds < goodUntil && keys.known(kid) === key;
  }

  function prove(jwt: string): Proven | Promise<Proven> {
    const compact = readCompact(jwt, maxTokenBytes);
    const kid = readHeader(compact.header, 'an access token');
    const reading = readClaims(compact.claims, expected, now() / 1000);
    const key = keys.find(kid);
    return key instanceof Promise ? key.then((later) => signed(later)) : signed(key);

    function signed(by: Proven['key']): Proven {
      checkSignature(compact, by);
      return { ...reading, kid, key: by };
    }
  }

  return {
    async verify(jwt, required) {
      const requirements = required === undefined ? undefined : readRequirements(required);
      const found = proveOrRecall(jwt);
      const proven = found instanceof Promise ? await found : found;
      const checking = revocation.check(proven);
      if (checking instanceof Promise) await checking;
      if (requirements !== undefined) requirePrivileges(proven.token, requirements);
      return copyOf(proven.token);
    },
    ready: () => keys.ready(),
    close() {
      revocation.close();
      keys.close();
    },
  };
}
