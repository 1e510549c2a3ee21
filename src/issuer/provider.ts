// oidc-provider with our models: the few places where it is extended rather than configured, a file each in models/.
// Everything that is said to it by configuration is in configuration.ts.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context } from 'koa';
import { type Configuration, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { StatusIndexes } from '../status-list/indexes.ts';
import { type RequestState, requestOf } from '../web/request.ts';
import { createCookieSignatures } from './cookie-signatures.ts';
import { signInCookies } from './cookies.ts';
import { accessTokenModel, serviceTokenModel } from './models/access-token.ts';
import { codeModel } from './models/authorization-code.ts';
import { type ClientParts, extendClient } from './models/client.ts';
import { followClock } from './models/clock.ts';
import { grantModel } from './models/grant.ts';
import { type IdTokenClass, idTokenModel } from './models/id-token.ts';
import { type InteractionClass, interactionModel, type ProvedSignIn } from './models/interaction.ts';
import type { ModelClass } from './models/model.ts';
import { type RefreshTokenParts, refreshTokenModel } from './models/refresh-token.ts';
import { type SessionClass, sessionModel } from './models/session.ts';
import { type ContextClass, readableContext } from './request-parameters.ts';

interface ProviderParts extends RefreshTokenParts, ClientParts {
  statusIndexes: Pick<StatusIndexes, 'ofClient'>;
  /** Whether the person of a sign-in was signed out everywhere since they proved who they are. */
  isOver(login: ProvedSignIn): Promise<boolean>;
  stateOf(req: IncomingMessage): RequestState | undefined;
  /** Epoch milliseconds, by the clock that replicas share. */
  now(): number;
}

/** oidc-provider's classes as we extend them. */
interface ProviderModels {
  OIDCContext: ContextClass;
  AccessToken: ModelClass;
  ClientCredentials: ModelClass;
  Grant: ModelClass;
  IdToken: IdTokenClass;
  Interaction: InteractionClass;
  Session: SessionClass;
  AuthorizationCode: ModelClass;
  RefreshToken: ModelClass;
}

export function createProvider(issuer: string, configuration: Configuration, parts: ProviderParts): Provider {
  const provider = new Provider(issuer, configuration);
  trustOnlyTheIssuer(provider, new URL(issuer));
  followClock(provider, parts.now);

  openSignInCookies(provider, issuer);
  const createContext = provider.createContext.bind(provider);
  provider.createContext = <S>(req: IncomingMessage, res: ServerResponse) => {
    const ctx = createContext<S>(req, res);
    Object.assign(ctx.state as object, parts.stateOf(req));
    return ctx;
  };

  const theirs = provider as unknown as ProviderModels;
  const ours: ProviderModels = {
    OIDCContext: readableContext(theirs.OIDCContext),
    AccessToken: accessTokenModel(theirs.AccessToken, parts.formats, parts.refresh),
    ClientCredentials: serviceTokenModel(theirs.ClientCredentials, parts.statusIndexes),
    Grant: grantModel(theirs.Grant),
    IdToken: idTokenModel(theirs.IdToken, parts.now),
    Interaction: interactionModel(theirs.Interaction, parts.isOver),
    Session: sessionModel(theirs.Session, parts.now),
    AuthorizationCode: codeModel(theirs.AuthorizationCode, provider),
    RefreshToken: refreshTokenModel(theirs.RefreshToken, provider, parts),
  };
  for (const [name, value] of Object.entries(ours)) Object.defineProperty(provider, name, { value });
  extendClient(provider.Client, parts);
  return provider;
}

type CookiesOf = Context & { [opened]?: Context['cookies'] };
const opened = Symbol('the cookies of a request');

// Opened when they are asked for: the token endpoint, which is the busy one, has none. The property belongs to what all
// contexts inherit from: V8 puts an accessor of one object into the old generation, and with it all of its request.
function openSignInCookies(provider: Provider, issuer: string): void {
  const keys = provider.keys as string[];
  provider.keys = createCookieSignatures(keys) as unknown as string[];
  const inherited = Object.getPrototypeOf(provider.context) as object;
  const open = (ctx: Context) => {
    const { signIn } = requestOf(ctx);
    const protocol = ctx as unknown as KoaContextWithOIDC;
    return signInCookies(Reflect.get(inherited, 'cookies', ctx) as Context['cookies'], {
      path: signIn === undefined ? ctx.path : `/sign-in/${signIn}`,
      header: ctx.req.headers.cookie ?? '',
      issuer,
      keys,
      clientId: () => protocol.oidc.client?.clientId,
      isDone: () => {
        const { login, consent } = protocol.oidc.entities.Interaction?.result ?? {};
        return login !== undefined || consent !== undefined;
      },
    });
  };
  Object.defineProperty(provider.context, 'cookies', {
    get(this: CookiesOf) {
      return (this[opened] ??= open(this));
    },
  });
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
