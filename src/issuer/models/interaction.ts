// The interaction: a sign-in under way, between the request that began it and the session that it makes.

import type { UpstreamBound } from '../upstream-session.ts';

/** What of a finished sign-in is ours (issuer/complete-sign-in.ts). */
export interface ProvedSignIn extends UpstreamBound {
  accountId: string;
  /** When the account had last been signed out everywhere as its proof was checked: epoch milliseconds. */
  signedOutAt?: number;
}

export interface InteractionClass {
  new (...input: never[]): { result?: { login?: ProvedSignIn } | undefined };
  find(uid: string, options?: object): Promise<InstanceType<InteractionClass> | undefined>;
}

/**
 * Between the proof and the session that it makes, a browser may take its time, and no session is there to be ended. So
 * the proof says itself whether it is over; the person is then asked as if they had proved nothing.
 */
export function interactionModel(
  Base: InteractionClass,
  isOver: (login: ProvedSignIn) => Promise<boolean>,
): InteractionClass {
  return class Interaction extends Base {
    static override async find(uid: string, options?: object) {
      const found = await super.find(uid, options);
      const login = found?.result?.login;
      if (login && (await isOver(login))) found.result = undefined;
      return found;
    }
  };
}
