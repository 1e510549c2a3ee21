// Refresh, strict and tolerant. Strict: a refresh token has one successor, and using it again ends the whole grant
// (RFC 9700 §4.14.2). Tolerant: the same client repeating the same request within the grace, because the answer was
// lost or two tabs asked at once, is given that same answer again, and a few times at most. Here it is decided what a
// request is to its token's chain.
//
// No copy of an answer is kept. It follows from the handle that was presented (grants/refresh-handle.ts), from the moment
// at which it was exchanged and from what the grant gives, and RSASSA-PKCS1-v1_5 signs the same words in the same way
// (RFC 8017 §8.2). So the same answer is made again, unless the person or the signing key has changed in between: then
// it says what holds now.

import type { Runs } from '../database/runs.ts';
import type { RefreshHandles } from '../grants/refresh-handle.ts';
import type { RefreshTokenPayload, RefreshTokens, Rotation, StoredRefreshToken } from '../grants/refresh-rows.ts';
import { addressPrefix } from '../web/address.ts';
import type { RequestState } from '../web/request.ts';
import { createRefreshPace } from './refresh-pace.ts';

/** Of a request to the token endpoint: what it asks for, and where it comes from. */
export interface RefreshRequest {
  /** Equal for two that ask for the same, beside token and client. */
  asked: string;
  network: string;
  /** When it was meant, epoch milliseconds. */
  arrivedAt: number;
}

/** What a request with nothing wrong about it is to the chain of its token, and what it is answered with. */
export interface Refresh {
  /**
   * `first`: an exchange. `repeated`: one that was answered before. `ahead of its pace`: the answer that brought the token
   * stands in for another one. `reuse`: the grant ends.
   */
  is: 'first' | 'repeated' | 'ahead of its pace' | 'reuse';
  /** As of when it is answered, epoch milliseconds. */
  at: number;
  /** The refresh token of the answer. */
  handle: string;
  /** Its end, epoch seconds. */
  exp: number;
  /** The network that it was asked from first, where that is another one. */
  firstAskedFrom?: string;
}

/** How a refresh was answered other than by an exchange (events.ts). */
export type AnsweredAgain = 'repeated' | 'repeated elsewhere' | 'ahead of its pace';

export interface RefreshRotation {
  handles: RefreshHandles;
  /** Whether a repetition is ever answered again. */
  isTolerant: boolean;
  /** When a request was meant that is handled now, epoch milliseconds. */
  arrivalOf(state: Pick<RequestState, 'waited'>, now: number): number;
  requestOf(
    params: { scope?: unknown; resource?: unknown },
    from: { address: string; arrivedAt: number },
  ): RefreshRequest;
  /** A repetition is counted by asking. @param life seconds that an access token of the answer lives */
  decide(handle: string, stored: StoredRefreshToken, request: RefreshRequest, life: number): Promise<Refresh>;
  /** Writes an exchange. False: another request was first, or the grant has ended. */
  exchange(handle: string, stored: StoredRefreshToken, refresh: Refresh, request: RefreshRequest): Promise<boolean>;
}

interface RefreshRules {
  /** Seconds in which a repetition is answered again; 0: never. */
  grace: number;
  /** Seconds between two rotations of a chain that has had its burst; 0: as often as it likes. */
  spacing: number;
  /** Seconds that a refresh token lives. */
  life: number;
}

/** A lost answer, and the tabs of one browser. Those that ask at the same moment count as one. */
const mostRepetitions = 3;
/** What a connection asks first was meant when it was opened, unless it was kept for something: an overloaded server reads it late. */
const longestWaitMs = 10_000;

const nobodyDies = { mayBeUnanswered: async () => false };

interface RefreshRotationParts {
  tokens: Pick<RefreshTokens, 'rotate' | 'countRepetition'>;
  handles: RefreshHandles;
  rules: RefreshRules;
  now: () => number;
  /** The same, not from an estimate. */
  exactNow: () => Promise<number>;
  runs?: Pick<Runs, 'mayBeUnanswered'> | undefined;
}

export function createRefreshRotation(parts: RefreshRotationParts): RefreshRotation {
  const { tokens, handles, rules, now, exactNow, runs = nobodyDies } = parts;
  const graceMs = rules.grace * 1000;
  const pace = createRefreshPace(rules.grace > 0 ? rules.spacing : 0);

  /** When the token was spent by this very request a moment ago. */
  async function isRepetition(handle: string, stored: StoredRefreshToken, request: RefreshRequest): Promise<boolean> {
    const { state, rotation } = stored;
    // Once the successor was used its owner has it, so the old one can only come from somebody else.
    if (state !== 'previous' || graceMs === 0 || rotation?.request !== request.asked) return false;
    // Whether the grace still runs is not for a clock to say that was set a moment ago.
    const at = await exactNow();
    // A crash is no thief: of what a server may not have answered before it died, the grace begins when that is known.
    const isLate = at - rotation.at > graceMs;
    const notBefore = isLate && (await runs.mayBeUnanswered(rotation.at, at, graceMs)) ? rotation.at : at - graceMs;
    return tokens.countRepetition(handle, {
      most: mostRepetitions,
      notBefore,
      arrivedAt: Math.round(request.arrivedAt),
      now: at,
    });
  }

  /**
   * Whether the answer that brought this token was given a moment ago, and asked for in the same way from the same
   * network. It holds this token and nothing that came later, so it tells its holder nothing: while it stands in, there
   * is no later one.
   */
  function isAhead({ payload, rotation }: StoredRefreshToken, request: RefreshRequest, life: number): boolean {
    if (!rotation || !pace.isAhead(payload.pace, now())) return false;
    if (rotation.request !== request.asked || rotation.network !== request.network) return false;
    const age = now() - rotation.at;
    return age >= 0 && age < pace.standsFor(life);
  }

  function next(handle: string): Omit<Refresh, 'is'> {
    const at = now();
    const exp = Math.floor(at / 1000) + rules.life;
    return { at, exp, handle: handles.next(handle, exp) };
  }

  return {
    handles,
    isTolerant: graceMs > 0,

    arrivalOf: ({ waited = 0 }, at) => at - Math.min(waited, longestWaitMs),

    requestOf: ({ scope, resource }, { address, arrivedAt }) => ({
      asked: JSON.stringify([
        typeof scope === 'string' ? [...new Set(scope.split(' '))].sort() : null,
        resource ?? null,
      ]),
      network: addressPrefix(address),
      arrivedAt,
    }),

    async decide(handle, stored, request, life) {
      const { state, rotation, current } = stored;
      if (state === 'current') {
        if (!isAhead(stored, request, life)) return { is: 'first', ...next(handle) };
        return { is: 'ahead of its pace', at: rotation!.at, handle, exp: current.exp };
      }
      const successor = handles.nextOf(handle, current.exp, current.digest);
      if (successor === undefined || !(await isRepetition(handle, stored, request))) {
        return { is: 'reuse', ...next(handle) };
      }
      const { at, network } = rotation as Rotation;
      const elsewhere = network !== request.network && { firstAskedFrom: network };
      return { is: 'repeated', at, handle: successor, exp: current.exp, ...elsewhere };
    },

    exchange(spent, { payload }, { at, handle, exp }, { asked: request, network }) {
      const successor = { ...succeeding(payload, at), exp, pace: pace.next(payload.pace, at) };
      return tokens.rotate(spent, { handle, request, network, payload: successor }, at);
    },
  };
}

/** What is kept of the next one: as oidc-provider makes it of the one before (lib/actions/grants/refresh_token.js). */
function succeeding(payload: RefreshTokenPayload, at: number): RefreshTokenPayload {
  const { gty, rotations } = payload as { gty?: string; rotations?: number };
  return {
    ...payload,
    iat: Math.floor(at / 1000),
    rotations: (rotations ?? 0) + 1,
    ...(gty && { gty: gty.endsWith('refresh_token') ? gty : `${gty} refresh_token` }),
  };
}

/** How it was answered, for whoever tells of it; undefined: as an exchange is. */
export function answeredAgain({ is, firstAskedFrom }: Refresh): AnsweredAgain | undefined {
  if (is === 'repeated') return firstAskedFrom === undefined ? 'repeated' : 'repeated elsewhere';
  return is === 'ahead of its pace' ? is : undefined;
}
