// What is true of the tokens under load: who signed what and when, and which verifier said what about it. Every access
// token is shown to every verifier three times: when it is new, in the middle of its life and just before its end.

import { decode } from '../support/user-agent.ts';
import type { NamedVerifier, PausableVerifier } from './verifiers.ts';

interface Signature {
  kid: string;
  /** When the request that led to it began, and when its answer was here. */
  requestedAt: number;
  receivedAt: number;
}

interface Refusal {
  by: string;
  reason: string;
  kid: string;
  at: number;
  ageMs: number;
}

interface Token extends Signature {
  jwt: string;
  expiresAt: number;
}

export interface Judge {
  /** Every JWT that was issued: access, ID and refresh tokens. */
  signatures: Signature[];
  accessTokens: Token[];
  verified: Map<string, number>;
  /** Good tokens that were refused. */
  refused: Refusal[];
  /** When each verifier last said yes to a token of a revoked key. */
  revokedAccepted: Map<string, number>;
  /** The longest that an answer took, of the token endpoint or of a verifier: what no bound in seconds can leave out. */
  slowestMs: number;
  /** An answer of the token endpoint. */
  see(tokens: Record<string, any>, requestedAt: number): void;
  watch(verifier: NamedVerifier): void;
  watchPausable(verifier: PausableVerifier): void;
  /** From now on its tokens are not good. */
  revoked(kid: string): void;
  /** Shows a token to every verifier that is not paused. */
  show(token: Token): Promise<void>;
  /** Resolves when every token seen so far was shown for the last time. */
  settled(): Promise<void>;
  /** Shows nothing any more. */
  stop(): void;
}

const beforeTheEndMs = 300;

export function createJudge(): Judge {
  const verifiers: { verifier: NamedVerifier; isPaused: () => boolean }[] = [];
  const gone = new Set<string>();
  const appointments = new Set<Promise<void>>();
  let stopped = false;

  function appoint(token: Token, at: number): void {
    const appointment = new Promise<void>((resolve) => {
      setTimeout(() => void judge.show(token).then(resolve), Math.max(0, at - Date.now()));
    }).finally(() => appointments.delete(appointment));
    appointments.add(appointment);
  }

  async function ask({ name, verify }: NamedVerifier, { jwt, kid, expiresAt, receivedAt }: Token): Promise<void> {
    const at = Date.now();
    const reason = await verify(jwt);
    judge.slowestMs = Math.max(judge.slowestMs, Date.now() - at);
    if (gone.has(kid)) {
      if (reason === undefined) judge.revokedAccepted.set(name, Math.max(at, judge.revokedAccepted.get(name) ?? 0));
      return;
    }
    if (reason === undefined) judge.verified.set(name, (judge.verified.get(name) ?? 0) + 1);
    // Refused after its end is refused rightly, also where it was still good when we asked.
    else if (Date.now() < expiresAt) judge.refused.push({ by: name, reason, kid, at, ageMs: at - receivedAt });
  }

  const judge: Judge = {
    signatures: [],
    accessTokens: [],
    verified: new Map(),
    refused: [],
    revokedAccepted: new Map(),
    slowestMs: 0,

    see(tokens, requestedAt) {
      const receivedAt = Date.now();
      judge.slowestMs = Math.max(judge.slowestMs, receivedAt - requestedAt);
      for (const jwt of [tokens.access_token, tokens.id_token, tokens.refresh_token]) {
        if (jwt === undefined) continue;
        const { header, payload } = decode(jwt);
        const signature = { kid: String(header.kid), requestedAt, receivedAt };
        judge.signatures.push(signature);
        if (header.typ !== 'at+jwt') continue;
        const token = { ...signature, jwt, expiresAt: payload.exp * 1000 };
        judge.accessTokens.push(token);
        const lifeMs = token.expiresAt - receivedAt;
        for (const at of [0, lifeMs * Math.random(), lifeMs - beforeTheEndMs]) appoint(token, receivedAt + at);
      }
    },

    watch: (verifier) => void verifiers.push({ verifier, isPaused: () => false }),
    watchPausable: (pausable) => {
      for (const verifier of pausable.verifiers) verifiers.push({ verifier, isPaused: pausable.paused });
    },
    revoked: (kid) => void gone.add(kid),
    async show(token) {
      if (stopped) return;
      await Promise.all(verifiers.filter(({ isPaused }) => !isPaused()).map(({ verifier }) => ask(verifier, token)));
    },
    async settled() {
      while (appointments.size > 0) await Promise.all(appointments);
    },
    stop: () => {
      stopped = true;
    },
  };
  return judge;
}
