// The session of a browser: when it began, on which session upstream it rests, and what lasts no longer than it.

import { Provider } from 'oidc-provider';
import type { SessionAdapter } from '../adapter.ts';
import type { UpstreamBound } from '../upstream-session.ts';
import type { ProvedSignIn } from './interaction.ts';
import type { Model } from './model.ts';

/** What of a session decides how long it lasts. */
export interface SignedInSession {
  accountId?: string;
  /** Ours, in epoch seconds. `loginTs` may be long ago: it is when the person signed in at Microsoft. */
  signedInAt?: number;
}

export interface SessionClass {
  new (
    input: object,
  ): UpstreamBound &
    SignedInSession & {
      oldId?: string;
      adapter: SessionAdapter;
      save(ttl: number): Promise<string>;
      loginAccount(details: object): void;
    };
  IN_PAYLOAD: string[];
}

/** A session that gets a new id. A refresh in another tab looks for it by its uid, and has to find it at any moment. */
export function sessionModel(Base: SessionClass, now: () => number): SessionClass {
  return class Session extends Base {
    static override get IN_PAYLOAD() {
      return [...super.IN_PAYLOAD, 'upstream', 'signedInAt'];
    }

    // oidc-provider takes from a finished sign-in what it knows of (lib/actions/authorization/resume.js).
    override loginAccount(details: object) {
      super.loginAccount(details);
      this.signedInAt = Math.floor(now() / 1000);
      this.upstream = (Provider.ctx!.oidc.entities.Interaction?.result?.login as ProvedSignIn | undefined)?.upstream;
    }

    override async save(ttl: number) {
      const { oldId } = this;
      this.oldId = undefined;
      const saved = await super.save(ttl);
      if (oldId !== undefined) await this.adapter.replaced(oldId);
      return saved;
    }
  };
}

/**
 * What is bound to a session is found while that lasts. oidc-provider would bind it to the one grant that the session
 * remembers for the application; but applications, or tabs of one, that sign in at the same moment write the session
 * over one another, and all but the last would find their fresh codes worthless.
 */
export async function whileSignedIn(provider: Provider, token: Model | undefined): Promise<Model | undefined> {
  if (!token?.expiresWithSession) return token;
  const session = await provider.Session.findByUid(token.sessionUid!);
  return session?.accountId === token.accountId ? token : undefined;
}
