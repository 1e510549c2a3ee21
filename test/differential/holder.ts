// An application that holds the same on both sides, and asks there for the same: what one of them is answered goes into its
// next request to that one.

import type { Draft, Outcome, Pair, Side } from './pair.ts';
import { type GrantType, type Others, type Own, ownOf, plainRequest, type Variations } from './requests.ts';
import { clientAuth } from './variations/client-auth.ts';
import { codes, refreshTokens, spentTokens } from './variations/credentials.ts';
import { forms } from './variations/forms.ts';
import { parameters } from './variations/parameters.ts';
import { asks, type PersonName } from './world.ts';

export const variations: Variations = {
  ...forms,
  ...clientAuth,
  ...parameters,
  ...refreshTokens,
  ...spentTokens,
  ...codes,
};

/** A request, and what was different about it. */
export interface Mismatch {
  request: string;
  differences: string[];
  sent: Draft;
  answers: unknown;
}

export class Holder {
  readonly #pair: Pair;
  readonly #owns: Map<Side, Own>;
  readonly #address: string;
  readonly mismatches: Mismatch[] = [];
  /** How many requests it sent, and how many of them got tokens. */
  sent = 0;
  accepted = 0;

  constructor(pair: Pair, clientId: string, others: Map<Side, Others>, address: string) {
    this.#pair = pair;
    this.#address = address;
    this.#owns = new Map(pair.both.map((side) => [side, ownOf({ others: others.get(side)! }, clientId)]));
  }

  get clientId(): string {
    return this.#owns.get(this.#pair.short)!.clientId;
  }

  ownOn(side: Side): Own {
    return this.#owns.get(side)!;
  }

  /** Signs a person in, and holds the code. */
  async authorize(person: PersonName, ask: string): Promise<void> {
    const [one, other] = await this.#pair.onEach(async (side) => {
      const code = await side.authorize(person, asks[ask]!);
      this.#owns.set(side, { ...this.ownOn(side), code, resource: asks[ask]!.named });
      return code;
    });
    this.#pair.twins.pair(one.code, other.code);
  }

  async ask(grantType: GrantType, varied: readonly string[] = []): Promise<Outcome> {
    const drafts = new Map<Side, Draft>();
    const outcome = await this.#pair.ask((side) => {
      const draft = plainRequest(grantType, this.ownOn(side), this.#address);
      for (const name of varied) variations[name]!(draft, this.ownOn(side));
      drafts.set(side, draft);
      return draft;
    });
    const { answers, differences } = outcome;
    this.sent += 1;
    if (differences.length > 0) {
      const request = [grantType, `of ${this.clientId}`, ...varied].join(' ');
      this.mismatches.push({
        request,
        differences,
        sent: shown(drafts.get(this.#pair.short)!),
        answers: shown(answers.map(({ status, body }) => ({ status, body }))),
      });
    }
    for (const [at, side] of this.#pair.both.entries()) this.#take(side, answers[at]!.body);
    if (answers[0].status === 200) this.accepted += 1;
    return outcome;
  }

  #take(side: Side, body: unknown): void {
    if (typeof body !== 'object') return;
    const { refresh_token: newest, access_token: accessToken, id_token: idToken } = body as Record<string, string>;
    if (accessToken === undefined) return;
    const own = this.ownOn(side);
    const refresh =
      newest === undefined || own.refreshTokens.includes(newest) ? own.refreshTokens : [...own.refreshTokens, newest];
    this.#owns.set(side, { ...own, refreshTokens: refresh, accessToken, idToken: idToken ?? own.idToken });
  }
}

/** As somebody may want to read it. */
function shown<T>(value: T): T {
  const cut = (text: string) => (text.length > 120 ? `${text.slice(0, 120)}…` : text);
  return JSON.parse(
    JSON.stringify(value, (_name, inner: unknown) => (typeof inner === 'string' ? cut(inner) : inner)),
  ) as T;
}
