// What createVerifier can be told. How it is checked, and what is made of it: components.ts. (Node's own types stay there: a
// service's project may be without them.)

import type { JSONWebKeySet } from 'jose';
import type { RedisReader } from './denylist.ts';

export interface VerifierOptions {
  /** The issuer's URL, exactly as its tokens say it in `iss`. https, unless its host is loopback. */
  issuer: string;
  /**
   * The API this service is: the audience its tokens must have (with several, any of them will do). Required, because
   * without it a token that any other service received is good here too. `null` accepts every audience of the issuer:
   * only for a service that nobody else's token could harm.
   */
  audience: string | readonly string[] | null;
  /** Name of this service for the issuer's log, sent as `User-Agent: signet-verifier/<version> (<service>)`. */
  service?: string;
  /** Where the keys are, when discovery is not wanted. https, or http on loopback. */
  jwksUri?: string;
  /** A fixed JWK Set: nothing is fetched, and a rotation needs a new verifier. */
  jwks?: JSONWebKeySet;
  /** Seconds the clocks of issuer and service may be apart, 600 at most. Default 5. */
  clockToleranceSeconds?: number;
  /** Longest token that is looked at, in bytes. Default 8192. */
  maxTokenBytes?: number;
  /**
   * Whether a token may have been revoked before it expired.
   * - `'status-list'`: the issuer's signed status lists that tokens name, kept fresh in the background; then a check is
   *   one bit.
   * - `'redis'`: the lists, and at each token the denylist in `redis`, which knows at once.
   * - `'none'`: a revoked token is good until it expires.
   *
   * Default `'status-list'`; with a fixed `jwks`, where nothing is fetched, `'none'`.
   */
  revocation?: 'status-list' | 'redis' | 'none';
  /** Where the issuer writes its denylist: a connected client of node-redis, or what looks like one. */
  redis?: RedisReader;
  /** Refuses tokens that name no status list, with `invalid_claims`. Default false. */
  requireStatus?: boolean;
  /** What holds while the issuer gives no newer status list. */
  staleness?: {
    /**
     * Seconds the last list is good beyond its `ttl`, at most; then tokens are refused with `revocation_unavailable`.
     * Default 3600, the longest that Signet lets a token live: an outage of the issuer stops no service before its
     * tokens are over anyway. A list's own `exp`, where that is earlier, is not overruled. 0: a fresh list alone.
     */
    limitSeconds?: number;
  };
  /**
   * How many tokens are remembered as genuine, so that the same one again costs no signature; each takes some 2 kB.
   * Time, key and revocation are looked at all the same. Default 1000; 0 remembers none.
   */
  maxRememberedTokens?: number;
  /** Seconds keys and status lists are used without asking, whatever the issuer says: 1 or more. Default 600. */
  maxCacheSeconds?: number;
  /** How long the last keys are good while the issuer cannot be reached. Default 86400 (24 h). */
  lastKnownGoodSeconds?: number;
  /**
   * Seconds between two requests for a key that is not known, and after a failed request. Default 5. 0 is for tests:
   * then each token with such a key causes a request.
   */
  cooldownSeconds?: number;
  /** Longest time for discovery and keys together, and for a status list, in seconds. Default 5. */
  timeoutSeconds?: number;
  /** Told about every failed request to the issuer or to Redis, while what is known still serves. For your log. */
  onRefreshError?: (error: unknown) => void;
  /** Allows http to other hosts, where anyone on the way can hand out keys of their own. */
  allowHttpIssuerForTests?: boolean;
  /** The time in epoch milliseconds. For tests; default `Date.now`. */
  now?: () => number;
}
