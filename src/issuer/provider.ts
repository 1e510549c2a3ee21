// oidc-provider with our tokens: the few places where its models are extended rather than configured. Everything that
// is said to it by configuration is in configuration.ts.

import { createPublicKey } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context } from 'koa';
import { type Adapter, type Configuration, ExternalSigningKey, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import { secretMatches } from '../clients/clients.ts';
import { issuedAt } from '../keys/dating.ts';
import type { PublicJwk, Signer } from '../keys/signer.ts';
import type { StatusIndex, StatusIndexes } from '../status-list/indexes.ts';
import type { RequestState } from '../web/request.ts';
import type { SecretThrottle } from '../web/secret-throttle.ts';
import type { SessionAdapter } from './adapter.ts';
import { signInCookies } from './cookies.ts';
import { compareInTurn } from './models/client.ts';
import { followClock } from './models/clock.ts';
import type { RefreshRotation } from './refresh.ts';
import { readableContext } from './request-parameters.ts';
import { leaveOutUngranted, type UngrantedScope, ungrantableScope } from './scope.ts';
import type { TokenFormats } from './tokens.ts';
import type { UpstreamBound } from './upstream-session.ts';

interface ProviderParts {
  /** The application behind a client id: the same object for as long as nothing about it changed. */
  findApplication(clientId: string): Promise<object | undefined>;
  formats: TokenFormats;
  rotation: RefreshRotation;
  /** Whether a scope exists, granted or not. */
  isKnownScope(scope: string): boolean;
  statusIndexes: Pick<StatusIndexes, 'ofClient'>;
  secretThrottle: SecretThrottle;
  /** Whether the person of a sign-in was signed out everywhere since they proved who they are. */
  isOver(login: ProvedSignIn): Promise<boolean>;
  stateOf(req: IncomingMessage): RequestState | undefined;
  /** Epoch milliseconds, by the clock that replicas share. */
  now(): number;
}

/** What of a finished sign-in is ours (issuer/complete-sign-in.ts). */
export interface ProvedSignIn extends UpstreamBound {
  accountId: string;
  /** When the account had last been signed out everywhere as its proof was checked: epoch milliseconds. */
  signedOutAt?: number;
}

/** What of a session decides how long it lasts. */
export interface SignedInSession {
  accountId?: string;
  /** Ours, in epoch seconds. `loginTs` may be long ago: it is when the person signed in at Microsoft. */
  signedInAt?: number;
}

/** What we rely on of oidc-provider's models and its types leave out; test/issuer/canary.test.ts holds it. */
interface Model extends UngrantedScope {
  jti: string;
  clientId: string;
  grantId?: string;
  accountId?: string;
  sessionUid?: string;
  expiresWithSession?: boolean;
  scopes: Set<string>;
  remainingTTL: number;
  resourceServer?: unknown;
  /** Ours: the status index that the token bears. */
  status?: StatusIndex;
  generateTokenId(): string;
  getValueAndPayload(): Promise<{ payload: Record<string, never> }>;
  consume(): Promise<void>;
  save(): Promise<string>;
}

interface ModelClass {
  new (input: object): Model;
  find(value: string, options?: object): Promise<Model | undefined>;
  adapter: Adapter;
  IN_PAYLOAD: string[];
}

interface IdTokenClass {
  new (...input: never[]): { payload(): Promise<Record<string, unknown>> };
}

interface SessionClass {
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

interface InteractionClass {
  new (...input: never[]): { result?: { login?: ProvedSignIn } | undefined };
  find(uid: string, options?: object): Promise<InstanceType<InteractionClass> | undefined>;
}

export function createProvider(issuer: string, configuration: Configuration, parts: ProviderParts): Provider {
  const provider = new Provider(issuer, configuration);
  trustOnlyTheIssuer(provider, new URL(issuer));
  followClock(provider, parts.now);

  const createContext = provider.createContext.bind(provider);
  provider.createContext = <S>(req: IncomingMessage, res: ServerResponse) => {
    const ctx = createContext<S>(req, res);
    const { signIn } = Object.assign(ctx.state as object, parts.stateOf(req));
    // Only when asked for: the token endpoint, which is the busy one, has none.
    let cookies: Context['cookies'] | undefined;
    const theirs = () => Reflect.get(Object.getPrototypeOf(ctx) as object, 'cookies', ctx) as Context['cookies'];
    const protocol = () => ctx as unknown as KoaContextWithOIDC;
    const open = () =>
      signInCookies(theirs(), {
        path: signIn === undefined ? ctx.path : `/sign-in/${signIn}`,
        header: req.headers.cookie ?? '',
        issuer,
        keys: provider.keys as string[],
        clientId: () => protocol().oidc.client?.clientId,
        isDone: () => {
          const { login, consent } = protocol().oidc.entities.Interaction?.result ?? {};
          return login !== undefined || consent !== undefined;
        },
      });
    Object.defineProperty(ctx, 'cookies', { get: () => (cookies ??= open()) });
    return ctx;
  };

  Object.defineProperties(provider, {
    OIDCContext: { value: readableContext(provider.OIDCContext as never) },
    AccessToken: { value: accessTokenModel(provider.AccessToken as never, parts.formats) },
    ClientCredentials: { value: serviceTokenModel(provider.ClientCredentials as never, parts.statusIndexes) },
    Grant: { value: grantModel(provider.Grant as never) },
    IdToken: { value: idTokenModel(provider.IdToken as never, parts.now) },
    Interaction: { value: interactionModel(provider.Interaction as never, parts) },
    Session: { value: sessionModel(provider.Session as never, parts.now) },
    AuthorizationCode: { value: codeModel(provider.AuthorizationCode as never, provider) },
    RefreshToken: { value: refreshTokenModel(provider.RefreshToken as never, provider, parts) },
  });
  Object.defineProperties(provider.Client.prototype, {
    // Metadata holds the digest of the secret (clients/clients.ts), so the comparison is ours.
    compareClientSecret: {
      value(this: { clientId: string; clientSecret: string }, presented: string) {
        return compareInTurn(parts.secretThrottle, this.clientId, () => secretMatches(this.clientSecret, presented));
      },
    },
    // Every application may learn the session's id: sign-out and revocation refer to it.
    includeSid: { value: () => true },
  });

  Object.defineProperty(provider.Client, 'find', { value: rememberClients(provider.Client, parts) });

  return provider;
}

// oidc-provider recognises a client by a digest of its metadata, computed anew at every request. The application's own
// object does as well: clients/clients.ts hands the same one out until it has changed.
function rememberClients(
  Base: Provider['Client'],
  { findApplication, secretThrottle }: ProviderParts,
): Provider['Client']['find'] {
  const find = Base.find.bind(Base);
  const clients = new WeakMap<object, Awaited<ReturnType<typeof find>>>();
  return async (clientId) => {
    const application = await findApplication(clientId);
    if (!application) {
      if (Provider.ctx?.path === '/token') await compareInTurn(secretThrottle, undefined, () => false);
      return undefined;
    }
    const known = clients.get(application);
    if (known) return known;
    const client = await find(clientId);
    if (client) clients.set(application, client);
    return client;
  };
}

/** Access tokens are always JWTs. Without an API they are addressed to the issuer, for its userinfo endpoint. */
function accessTokenModel(Base: ModelClass, formats: TokenFormats): ModelClass {
  return class AccessToken extends Base {
    static override async find(token: string) {
      const claims = await formats.openAccessToken(token);
      if (!claims) return undefined;
      const { jti, sub: accountId, client_id: clientId, scope, iat, exp } = claims;
      return new this({ jti, accountId, clientId, scope, iat, exp, grantId: grantIdOf(String(jti)) });
    }

    override generateTokenId() {
      return `${this.grantId}.${super.generateTokenId()}`;
    }

    override async save() {
      this.status = (Provider.ctx!.oidc.entities.Grant as unknown as Model).status;
      return super.save();
    }

    // oidc-provider makes a JWT for a resource server only; where there is none, the issuer is the one.
    override get resourceServer() {
      return super.resourceServer ?? { accessTokenFormat: 'jwt', scopes: this.scopes };
    }

    override set resourceServer(resourceServer) {
      super.resourceServer = resourceServer;
    }
  };
}

/**
 * ID tokens are dated as all that we sign (keys/dating.ts). One that comes with a refresh has no nonce: that belongs to the
 * request that signed the person in, and libraries have forgotten it by then (OpenID Connect Core §12.2).
 */
function idTokenModel(Base: IdTokenClass, now: () => number): IdTokenClass {
  return class IdToken extends Base {
    override async payload() {
      const { nonce, ...claims } = await super.payload();
      const isRefresh = Provider.ctx?.oidc.params?.grant_type === 'refresh_token';
      return { ...claims, ...(isRefresh || nonce === undefined ? {} : { nonce }), iat: issuedAt(now()) };
    }
  };
}

/** What an application gets for itself: it has no grant, but a status index of its own, and a name for it in `jti`. */
function serviceTokenModel(Base: ModelClass, statusIndexes: Pick<StatusIndexes, 'ofClient'>): ModelClass {
  return class ClientCredentials extends Base {
    override async save() {
      const { grantId, index } = await statusIndexes.ofClient(this.clientId);
      this.status = index;
      this.jti = `${grantId}.${this.generateTokenId()}`;
      return super.save();
    }
  };
}

/** A grant knows its status index, which storage gave it (adapter.ts). */
function grantModel(Base: ModelClass): ModelClass {
  return class Grant extends Base {
    static override get IN_PAYLOAD() {
      return [...super.IN_PAYLOAD, 'status', 'upstream'];
    }
  };
}

/** The grant is named in the first half of `jti`, so that a token leads to it without a table of tokens. */
export function grantIdOf(jti: string): string {
  return jti.split('.')[0]!;
}

/**
 * Between the proof and the session that it makes, a browser may take its time, and no session is there to be ended. So
 * the proof says itself whether it is over; the person is then asked as if they had proved nothing.
 */
function interactionModel(Base: InteractionClass, { isOver }: Pick<ProviderParts, 'isOver'>): InteractionClass {
  return class Interaction extends Base {
    static override async find(uid: string, options?: object) {
      const found = await super.find(uid, options);
      const login = found?.result?.login;
      if (login && (await isOver(login))) found.result = undefined;
      return found;
    }
  };
}

/** A session that gets a new id. A refresh in another tab looks for it by its uid, and has to find it at any moment. */
function sessionModel(Base: SessionClass, now: () => number): SessionClass {
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

function codeModel(Base: ModelClass, provider: Provider): ModelClass {
  return class AuthorizationCode extends Base {
    static override get IN_PAYLOAD() {
      return [...super.IN_PAYLOAD, 'ungrantedScope'];
    }

    override async save() {
      this.ungrantedScope = Provider.ctx!.oidc.params?.[ungrantableScope] as string | undefined;
      return super.save();
    }

    static override async find(code: string, options?: object) {
      return whileSignedIn(provider, await super.find(code, { ...options, ignoreSessionBinding: true }));
    }
  };
}

/**
 * What is bound to a session is found while that lasts. oidc-provider would bind it to the one grant that the session
 * remembers for the application; but applications, or tabs of one, that sign in at the same moment write the session
 * over one another, and all but the last would find their fresh codes worthless.
 */
async function whileSignedIn(provider: Provider, token: Model | undefined): Promise<Model | undefined> {
  if (!token?.expiresWithSession) return token;
  const session = await provider.Session.findByUid(token.sessionUid!);
  return session?.accountId === token.accountId ? token : undefined;
}

/** On the wire a signed handle (tokens.ts); spent and replaced in one statement (refresh.ts). */
function refreshTokenModel(Base: ModelClass, provider: Provider, parts: ProviderParts): ModelClass {
  const { formats, rotation, isKnownScope } = parts;
  return class RefreshToken extends Base {
    static override get IN_PAYLOAD() {
      return [...super.IN_PAYLOAD, 'ungrantedScope'];
    }

    static override async find(token: string, options?: object) {
      const handle = await formats.openRefreshToken(token);
      if (handle === undefined) return undefined;
      const found = await super.find(handle, { ...options, ignoreSessionBinding: true });
      if (found) leaveOutUngranted(Provider.ctx!, found, isKnownScope);
      return whileSignedIn(provider, found);
    }

    static override get adapter() {
      return { ...super.adapter, find: (handle: string) => rotation.find(Provider.ctx!, handle) };
    }

    override async consume() {
      await rotation.begin(Provider.ctx!, this.jti);
    }

    override async save() {
      this.jti ??= this.generateTokenId();
      const { AuthorizationCode: code, RotatedRefreshToken: spent } = Provider.ctx!.oidc.entities;
      this.ungrantedScope = ((code ?? spent) as UngrantedScope | undefined)?.ungrantedScope;
      const { payload } = await this.getValueAndPayload();
      const held = rotation.hold(Provider.ctx, { handle: this.jti, payload, lifeSeconds: this.remainingTTL });
      if (!held) await super.save();
      return formats.wrapRefreshToken(this.jti, payload.exp!);
    }
  };
}

// Links, `iss` and the Secure attribute follow the configured issuer. Host and X-Forwarded-* are whatever the sender
// likes, so oidc-provider never gets to see them.
function trustOnlyTheIssuer(provider: Provider, { protocol, host, origin }: URL): void {
  Object.defineProperties(provider.request, {
    protocol: { get: () => protocol.slice(0, -1) },
    secure: { get: () => protocol === 'https:' },
    host: { get: () => host },
    origin: { get: () => origin },
    href: {
      get(this: { url: string }) {
        return origin + this.url;
      },
    },
  });
}

/** A published key as oidc-provider wants it; only the active one can sign, and no private half is ever exported. */
export class PublishedKey extends ExternalSigningKey {
  readonly #jwk: PublicJwk;
  readonly #sign: Signer['sign'] | undefined;

  constructor(jwk: PublicJwk, sign?: Signer['sign']) {
    super();
    this.#jwk = jwk;
    this.#sign = sign;
    Object.assign(this, { kid: jwk.kid, alg: jwk.alg });
  }

  override keyObject() {
    return createPublicKey({ key: { ...this.#jwk }, format: 'jwk' });
  }

  override async sign(data: Uint8Array) {
    if (!this.#sign) throw new Error(`key ${this.#jwk.kid} is published for verification only`);
    return this.#sign(data);
  }
}
