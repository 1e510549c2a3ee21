// Refresh, strict and tolerant. Strict: a refresh token has one successor, and using it again ends the whole grant
// (RFC 9700 §4.14.2). Tolerant: the same client repeating the same request within the grace, because the answer was
// lost or two tabs asked at once, is given that same answer again, from a sealed copy.
//
// oidc-provider consumes the old token, then saves the new one, then signs the rest. Here nothing is written until the
// whole answer is known; then one statement stores successor and answer, and thereby spends the old token. A crash
// loses nothing, and whoever comes second finds the first one's answer complete.

import { hash } from 'node:crypto';
import { errors, type KoaContextWithOIDC } from 'oidc-provider';
import type { Seal } from '../keys/seal.ts';
import type { Models, StoredRefreshToken, Successor } from './models.ts';

interface FoundRefreshToken extends StoredRefreshToken {
  /** Whether the client may still repeat the request that spent it. */
  isInGrace: boolean;
}

interface Rotation {
  spent: string;
  successor?: Omit<Successor, 'sealedAnswer'>;
  /** The answer given before, when this request repeats an earlier one. */
  repeated?: object;
}

export interface RefreshRotation {
  /** Looks a handle up. Within the grace a spent token still looks unspent: `begin` decides what to answer. */
  find(ctx: KoaContextWithOIDC, handle: string): Promise<StoredRefreshToken['payload'] | undefined>;
  /** In the place of oidc-provider's consume(). */
  begin(ctx: KoaContextWithOIDC, handle: string): Promise<void>;
  /** In the place of its save(): keeps the successor for `settle`. False where no rotation is under way. */
  hold(ctx: KoaContextWithOIDC | undefined, successor: Omit<Successor, 'sealedAnswer'>): boolean;
  /** Koa middleware around the token endpoint: writes, or answers again. */
  settle(ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void>;
}

export function createRefreshRotation(
  models: Models,
  seal: Seal,
  graceSeconds: number,
  now: () => number = Date.now,
  exactNow: () => Promise<number> = async () => now(),
): RefreshRotation {
  const rotations = new WeakMap<object, Rotation>();
  const found = new WeakMap<object, FoundRefreshToken>();

  /** Looks up, and says of a spent one whether the grace still runs, by a clock that was not set a moment ago. */
  async function lookUp(handle: string): Promise<FoundRefreshToken | undefined> {
    const stored = await models.findRefreshToken(handle);
    if (stored?.rotatedAt === undefined) return stored && { ...stored, isInGrace: false };
    return { ...stored, isInGrace: await exactNow() - stored.rotatedAt <= graceSeconds * 1000 };
  }

  /** The earlier answer, if `stored` was spent by this very request a moment ago. */
  function earlierAnswer(ctx: KoaContextWithOIDC, handle: string, stored: FoundRefreshToken): object | undefined {
    if (!stored.isInGrace || !stored.sealedAnswer) return undefined;
    const { request, answer } = JSON.parse(seal.open(stored.sealedAnswer, sealContext(handle)).toString()) as {
      request: string; answer: object;
    };
    return request === fingerprint(ctx) ? answer : undefined;
  }

  return {
    async find(ctx, handle) {
      const stored = await lookUp(handle);
      if (!stored) return undefined;
      found.set(ctx, stored);
      if (stored.rotatedAt === undefined) return stored.payload;
      // Once the successor was used its owner has it, so the old one can only come from somebody else.
      const tolerable = stored.isInGrace && !stored.successorSpent;
      return tolerable ? stored.payload : { ...stored.payload, consumed: Math.floor(stored.rotatedAt / 1000) };
    },

    async begin(ctx, handle) {
      const stored = found.get(ctx);
      if (stored?.rotatedAt === undefined) {
        rotations.set(ctx, { spent: handle });
        return;
      }
      const repeated = earlierAnswer(ctx, handle, stored);
      if (repeated) rotations.set(ctx, { spent: handle, repeated });
      // Thrown also for a repetition: it stops oidc-provider from signing anew, and `settle` replaces the error.
      throw new errors.InvalidGrant('refresh token already used');
    },

    hold(ctx, successor) {
      const rotation = ctx && rotations.get(ctx);
      if (!rotation) return false;
      rotation.successor = successor;
      return true;
    },

    async settle(ctx, next) {
      await next();
      const rotation = rotations.get(ctx);
      if (!rotation) return;
      if (rotation.repeated) {
        respond(ctx, 200, rotation.repeated);
        return;
      }
      if (!rotation.successor || ctx.status !== 200) return;

      const copy = JSON.stringify({ request: fingerprint(ctx), answer: ctx.body });
      const sealedAnswer = graceSeconds > 0 ? seal.seal(Buffer.from(copy), sealContext(rotation.spent)) : null;
      if (await models.rotate(rotation.spent, { ...rotation.successor, sealedAnswer }, now())) return;

      const stored = await lookUp(rotation.spent);
      const answer = stored && earlierAnswer(ctx, rotation.spent, stored);
      ctx.state.refusal = stored?.rotatedAt === undefined ? 'the grant has ended' : 'another request was first';
      if (answer) respond(ctx, 200, answer);
      else respond(ctx, 400, { error: 'invalid_grant', error_description: 'grant request is invalid' });
    },
  };
}

function respond(ctx: KoaContextWithOIDC, status: number, body: object): void {
  ctx.status = status;
  ctx.body = body;
  ctx.state.answeredAgain = status === 200;
}

// The copy is bound to the token it answers: taken to another row, it does not open.
const sealContext = (handle: string) => `refresh answer ${hash('sha256', handle, 'base64url')}`;

/** What makes two refresh requests the same, beside token and client: what they ask for. */
function fingerprint(ctx: KoaContextWithOIDC): string {
  const { scope, resource } = ctx.oidc.params as { scope?: string; resource?: string | string[] };
  return JSON.stringify([scope ?? null, resource ?? null]);
}
