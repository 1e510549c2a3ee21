// Refresh, strict and tolerant. Strict: a refresh token has one successor, and using it again ends the whole grant
// (RFC 9700 §4.14.2). Tolerant: the same client repeating the same request within the grace, because the answer was
// lost or two tabs asked at once, is given that same answer again, from a sealed copy, and a few times at most.
//
// oidc-provider consumes the old token, then saves the new one, then signs the rest. Here nothing is written until the
// whole answer is known; then one statement stores successor and answer, and thereby spends the old token. A crash
// loses nothing, and whoever comes second finds the first one's answer complete.
//
// Whether a token was spent before is looked at last, when nothing else can be wrong with the request any more. So no
// refusal tells it for free: what is wrong with a request is answered alike whether the token was spent or not, and a
// request with which nothing is wrong has used it.

import { errors, type KoaContextWithOIDC } from 'oidc-provider';
import { databaseFailureIn } from '../database/failures.ts';
import type { Runs } from '../database/runs.ts';
import { digestOf, type SealedAnswer, type StoredRefreshToken, type Successor } from '../grants/refresh-rows.ts';
import type { Seal } from '../keys/seal.ts';
import { addressPrefix } from '../web/address.ts';
import type { Models } from './adapter.ts';
import { createRefreshPace } from './refresh-pace.ts';

interface Rotation {
  spent: string;
  stored: StoredRefreshToken;
  successor?: Omit<Successor, 'sealedAnswer'>;
  /** The answer given before, when this request repeats an earlier one. */
  repeated?: GivenAnswer;
}

/** What is sealed. */
interface GivenAnswer {
  request: string;
  /** The network it was asked from. */
  from: string;
  answer: { expires_in?: number };
}

/** How a refresh was answered other than by a rotation (events.ts). */
export type AnsweredAgain =
  | 'repeated'
  | 'repeated elsewhere'
  /** By the answer that brought the token: its chain is ahead of its pace. */
  | 'ahead of its pace';

export interface RefreshRotation {
  /** Looks a handle up. A spent token still looks unspent: what becomes of it is decided in `begin` and `settle`. */
  find(ctx: KoaContextWithOIDC, handle: string): Promise<StoredRefreshToken['payload'] | undefined>;
  /** In the place of oidc-provider's consume(). */
  begin(ctx: KoaContextWithOIDC, handle: string): Promise<void>;
  /** In the place of its save(): keeps the successor for `settle`. False where no rotation is under way. */
  hold(ctx: KoaContextWithOIDC | undefined, successor: Omit<Successor, 'sealedAnswer'>): boolean;
  /** Koa middleware around the token endpoint: writes, or answers again. */
  settle(ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void>;
}

export interface RefreshRules {
  /** Seconds in which a repetition is answered again; 0: never. */
  grace: number;
  /** Seconds between two rotations of a chain that has had its burst; 0: as often as it likes. */
  spacing: number;
}

/** A lost answer, and the tabs of one browser. Those that ask at the same moment count as one. */
const mostRepetitions = 3;
/** What a connection asks first was meant when it was opened, unless it was kept for something: an overloaded server reads it late. */
const longestWaitMs = 10_000;

const nobodyDies = { mayBeUnanswered: async () => false };

export function createRefreshRotation(
  models: Models,
  seal: Seal,
  rules: RefreshRules,
  now: () => number = Date.now,
  exactNow: () => Promise<number> = async () => now(),
  runs: Pick<Runs, 'mayBeUnanswered'> = nobodyDies,
): RefreshRotation {
  const graceMs = rules.grace * 1000;
  const pace = createRefreshPace(rules.grace > 0 ? rules.spacing : 0);
  const rotations = new WeakMap<object, Rotation>();
  const found = new WeakMap<object, StoredRefreshToken>();
  const arrivals = new WeakMap<object, number>();

  /** What is in a copy, if it answered this very request. */
  function given(ctx: KoaContextWithOIDC, copy: SealedAnswer): GivenAnswer | undefined {
    const opened = JSON.parse(seal.open(copy.sealed, sealContext(copy.id)).toString()) as GivenAnswer;
    return opened.request === fingerprint(ctx) ? opened : undefined;
  }

  /** The earlier answer, if `stored` was spent by this very request a moment ago. */
  async function earlierAnswer(
    ctx: KoaContextWithOIDC,
    handle: string,
    { answer, rotatedAt = 0, successorSpent }: StoredRefreshToken,
  ): Promise<GivenAnswer | undefined> {
    // Once the successor was used its owner has it, so the old one can only come from somebody else.
    const earlier = successorSpent || !answer ? undefined : given(ctx, answer);
    if (!earlier) return undefined;
    // Whether the grace still runs is not for a clock to say that was set a moment ago.
    const at = await exactNow();
    // A crash is no thief: of what a server may not have answered before it died, the grace begins when that is known.
    const isLate = at - rotatedAt > graceMs;
    const notBefore =
      isLate && graceMs > 0 && (await runs.mayBeUnanswered(rotatedAt, at, graceMs)) ? rotatedAt : at - graceMs;
    const mayHave = await models.countRepetition(handle, {
      most: mostRepetitions,
      notBefore,
      arrivedAt: Math.round(arrivals.get(ctx)!),
      now: at,
    });
    return mayHave ? earlier : undefined;
  }

  /**
   * The answer that brought this token, if it was given a moment ago and asked for in the same way from the same
   * network. It holds this token and nothing that came later, so it tells its holder nothing: while it stands in, there
   * is no later one.
   */
  function newestAnswer(ctx: KoaContextWithOIDC, { payload, broughtBy }: StoredRefreshToken): GivenAnswer | undefined {
    if (!broughtBy || !pace.isAhead(payload.pace, now())) return undefined;
    const newest = given(ctx, broughtBy);
    if (!newest || newest.from !== networkOf(ctx)) return undefined;
    const age = now() - broughtBy.at;
    return age >= 0 && age < pace.standsFor(newest.answer.expires_in ?? 0) ? newest : undefined;
  }

  async function endGrant(ctx: KoaContextWithOIDC, grantId: string): Promise<void> {
    await models.adapter('Grant').destroy(grantId);
    for (const model of ['RefreshToken', 'AuthorizationCode']) await models.adapter(model).revokeByGrantId(grantId);
    ctx.oidc.provider.emit('grant.revoked', ctx, grantId);
  }

  async function refuseReuse(ctx: KoaContextWithOIDC, { payload }: StoredRefreshToken): Promise<void> {
    await endGrant(ctx, payload.grantId);
    refuse(ctx, 'the refresh token was used before');
  }

  return {
    async find(ctx, handle) {
      const stored = await models.findRefreshToken(handle);
      if (stored) found.set(ctx, stored);
      return stored?.payload;
    },

    async begin(ctx, handle) {
      const stored = found.get(ctx)!;
      const isSpent = stored.rotatedAt !== undefined;
      const repeated = isSpent ? await earlierAnswer(ctx, handle, stored) : newestAnswer(ctx, stored);
      rotations.set(ctx, { spent: handle, stored, repeated });
      if (!repeated) return;
      ctx.state.answeredAgain = !isSpent ? ('ahead of its pace' satisfies AnsweredAgain) : manner(ctx, repeated);
      // It stops oidc-provider from signing anew, and `settle` replaces the error.
      throw new errors.InvalidGrant('answered from a copy');
    },

    hold(ctx, successor) {
      const rotation = ctx && rotations.get(ctx);
      if (!rotation) return false;
      rotation.successor = successor;
      return true;
    },

    async settle(ctx, next) {
      arrivals.set(ctx, now() - Math.min((ctx.state as { waited?: number }).waited ?? 0, longestWaitMs));
      await next();
      const rotation = rotations.get(ctx);
      if (!rotation) return;
      const { spent, stored, successor, repeated } = rotation;
      if (repeated) return answer(ctx, repeated);
      if (!successor || ctx.status !== 200) return;
      if (stored.rotatedAt !== undefined) return refuseReuse(ctx, stored);

      const at = now();
      const payload = { ...successor.payload, pace: pace.next(stored.payload.pace, at) };
      const copy: GivenAnswer = { request: fingerprint(ctx), from: networkOf(ctx), answer: ctx.body as object };
      const sealedAnswer =
        graceMs > 0 ? seal.seal(Buffer.from(JSON.stringify(copy)), sealContext(digestOf(successor.handle))) : null;
      const write = () => models.rotate(spent, { ...successor, payload, sealedAnswer }, at);
      // Where the connection was lost over it, nobody knows whether it was written. Once more does no harm: if it was,
      // the answer that is found below is this one.
      const isWritten = await write().catch((error: unknown) => {
        if (graceMs > 0 && databaseFailureIn(error)) return write();
        throw error;
      });
      if (isWritten) return;

      const before = await models.findRefreshToken(spent);
      if (before?.rotatedAt === undefined) return refuse(ctx, 'the grant has ended');
      const earlier = await earlierAnswer(ctx, spent, before);
      if (!earlier) return refuseReuse(ctx, before);
      ctx.state.answeredAgain = manner(ctx, earlier);
      answer(ctx, earlier);
    },
  };
}

function manner(ctx: KoaContextWithOIDC, { from }: GivenAnswer): AnsweredAgain {
  ctx.state.firstAskedFrom = from;
  return from === networkOf(ctx) ? 'repeated' : 'repeated elsewhere';
}

function networkOf(ctx: KoaContextWithOIDC): string {
  const { address } = ctx.state as { address?: string };
  return address === undefined ? 'unknown' : addressPrefix(address);
}

function answer(ctx: KoaContextWithOIDC, given: GivenAnswer): void {
  ctx.status = 200;
  ctx.body = given.answer;
}

/** As oidc-provider refuses a token that it does not know. */
function refuse(ctx: KoaContextWithOIDC, reason: string): void {
  ctx.state.refusal = reason;
  ctx.status = 400;
  ctx.body = { error: 'invalid_grant', error_description: 'grant request is invalid' };
}

// The copy is bound to the token it brought: taken to another row, it does not open.
const sealContext = (id: string) => `refresh answer ${id}`;

/** What makes two refresh requests the same, beside token and client: what they ask for. */
function fingerprint(ctx: KoaContextWithOIDC): string {
  const { scope, resource } = ctx.oidc.params as { scope?: string; resource?: string | string[] };
  return JSON.stringify([scope === undefined ? null : [...new Set(scope.split(' '))].sort(), resource ?? null]);
}
