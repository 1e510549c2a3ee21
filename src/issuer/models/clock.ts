// oidc-provider reads the machine's clock in its models (lib/helpers/epoch_time.js) and takes no other. What its models
// write is compared by other replicas, and what they date is compared by services: here its classes are made to go by
// the clock that is given. test/issuer/canary.test.ts holds the files that this relies on.

import type { Provider } from 'oidc-provider';

interface DatedModel {
  jti?: string;
  iat?: number;
  exp?: number;
  loginTs?: number;
  expiration?: number;
  adapter: { upsert(id: string, payload: object, expiresIn: number): Promise<void> };
  generateTokenId(): string;
  getValueAndPayload(): Promise<{ value: string; payload?: object }>;
  emit(event: string): void;
  save(ttl: number): Promise<string>;
}

interface DatedClass {
  prototype: DatedModel;
  expiresIn?: unknown;
  verify(stored: { exp?: number }, options?: { ignoreExpiration?: boolean }): Promise<object>;
}

interface IdTokenClass {
  new (
    ...input: never[]
  ): {
    set(claim: string, value: unknown): void;
    issue(options: { use?: string }): Promise<string>;
  };
  expiresIn(...input: unknown[]): number;
}

/** To be called before any of its classes is extended. @param now epoch milliseconds */
export function followClock(provider: Provider, now: () => number): void {
  const seconds = () => Math.floor(now() / 1000);
  followInModels(Object.getPrototypeOf(provider.Session) as DatedClass, seconds);
  followInSessions(provider.Session as unknown as DatedClass, seconds);
  followInInteractions(provider.Interaction as unknown as DatedClass, seconds);
  const IdToken = idTokenModel(provider.IdToken as never, seconds);
  Object.defineProperty(provider, 'IdToken', { value: IdToken, configurable: true });
}

// lib/models/base_model.js and formats/opaque.js
function followInModels(BaseModel: DatedClass, seconds: () => number): void {
  const { getValueAndPayload } = BaseModel.prototype;
  const { verify } = BaseModel;

  function date(model: DatedModel): void {
    model.iat ??= seconds();
    if (model.exp === undefined && model.expiration !== undefined) model.exp = seconds() + model.expiration;
  }

  Object.defineProperties(BaseModel.prototype, {
    isExpired: {
      get(this: DatedModel) {
        return this.exp! <= seconds();
      },
    },
    remainingTTL: {
      get(this: DatedModel) {
        return this.exp ? this.exp - seconds() : this.expiration;
      },
    },
    getValueAndPayload: {
      value(this: DatedModel) {
        date(this);
        return getValueAndPayload.call(this);
      },
    },
    save: {
      async value(this: DatedModel, ttl: number) {
        this.jti ||= this.generateTokenId();
        if (typeof (this.constructor as unknown as DatedClass).expiresIn !== 'function') this.exp = seconds() + ttl;
        date(this);
        const { value, payload } = await this.getValueAndPayload();
        if (payload) await this.adapter.upsert(this.jti, payload, ttl);
        this.emit(payload ? 'saved' : 'issued');
        return value;
      },
    },
  });
  BaseModel.verify = function verifyByClock(stored, { ignoreExpiration = false } = {}) {
    if (!ignoreExpiration && stored.exp !== undefined && stored.exp <= seconds()) throw new Error('expired');
    return verify.call(this, stored, { ignoreExpiration: true });
  };
}

// lib/models/session.js
function followInSessions(Session: DatedClass, seconds: () => number): void {
  const { loginAccount } = Session.prototype as unknown as { loginAccount(details: object): void };
  Object.defineProperties(Session.prototype, {
    persist: {
      value(this: DatedModel) {
        return this.save(this.exp! - seconds());
      },
    },
    past: {
      value(this: DatedModel, age: unknown) {
        return this.loginTs ? seconds() - this.loginTs > Number(age) : true;
      },
    },
    loginAccount: {
      value(this: DatedModel, details: { loginTs?: number }) {
        loginAccount.call(this, { ...details, loginTs: details.loginTs ?? seconds() });
      },
    },
  });
}

// lib/models/interaction.js. Whoever saves one again wants it to end when it would have (provider.js, resume.js), and
// says so by the machine's clock.
function followInInteractions(Interaction: DatedClass, seconds: () => number): void {
  const { save } = Interaction.prototype;
  Object.defineProperties(Interaction.prototype, {
    persist: {
      value(this: DatedModel) {
        return this.save(this.exp! - seconds());
      },
    },
    save: {
      value(this: DatedModel, ttl: number) {
        return save.call(this, this.exp === undefined ? ttl : this.exp - seconds());
      },
    },
  });
}

// lib/models/id_token.js and helpers/jwt.js, which adds a life to the machine's time but keeps an `iat` that is there.
function idTokenModel(Base: IdTokenClass, seconds: () => number): IdTokenClass {
  const behind = () => seconds() - Math.floor(Date.now() / 1000);
  return class IdToken extends Base {
    static override expiresIn(...input: unknown[]) {
      return super.expiresIn(...input) + behind();
    }

    override issue(options: { use?: string }) {
      this.set('iat', seconds());
      return super.issue(options);
    }
  };
}
