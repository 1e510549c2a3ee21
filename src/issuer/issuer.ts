// Owns the current Provider: builds it, hands it requests, and replaces it when the keys change. All protocol state is
// in storage, so a sign-in or a code begun under one Provider finishes under the next.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { Provider } from 'oidc-provider';
import { createRefreshHandles } from '../grants/refresh-handle.ts';
import type { SigningKeys } from '../keys/keyring.ts';
import { networkOf } from '../web/address.ts';
import type { FindDocument } from '../web/document.ts';
import { protection } from '../web/headers.ts';
import { type RequestState, requestOf } from '../web/request.ts';
import { createModels } from './adapter.ts';
import { configurationFor, toMetadata } from './configuration.ts';
import { createConsents } from './consent.ts';
import { cookieKeysOf } from './cookies.ts';
import type { IssuerDependencies } from './dependencies.ts';
import { type FoundToken, lookUpToken } from './endpoints/token-lookup.ts';
import { createMetadataResponses, type MetadataResponses } from './metadata-responses.ts';
import { useMiddleware } from './middleware.ts';
import { createPendingSignIns, type PendingSignIns } from './pending-sign-in.ts';
import { createProvider } from './provider.ts';
import { createProviderRefresh } from './provider-refresh.ts';
import { createRefreshRotation } from './refresh.ts';
import { createRequestReads } from './request-reads.ts';
import { knownScopes } from './scope.ts';
import { grantCode } from './token-endpoint/authorization-code.ts';
import { grantClientCredentials } from './token-endpoint/client-credentials.ts';
import { createIssuing, type Issuing } from './token-endpoint/issuing.ts';
import { grantRefresh } from './token-endpoint/refresh-token.ts';
import { createTokenEndpoint, type TokenEndpoint } from './token-endpoint/token-endpoint.ts';
import { createTokenFormats, type TokenFormats } from './tokens.ts';

export interface Issuer extends PendingSignIns {
  /** Answers a protocol request. Nobody else may write to `res` afterwards. */
  handle(req: IncomingMessage, res: ServerResponse, state: RequestState): Promise<void>;
  /** The JWKS and the metadata, once oidc-provider has answered them with the present keys. */
  findDocument: FindDocument;
  /** The same for a POST to the token endpoint, by the short way where there is one. */
  handleToken(req: IncomingMessage, res: ServerResponse, state: RequestState): Promise<void>;
  /** What a token is that somebody presents to us; undefined where it is none of ours, or expired. */
  lookUp(token: string): Promise<FoundToken | undefined>;
  /** Signs with, and publishes, other keys from now on. */
  useKeys(keys: SigningKeys): void;
  sweep(now: number, limit: number): Promise<number>;
  close(): void;
}

export function createIssuer(parts: IssuerDependencies, firstKeys: SigningKeys): Issuer {
  const { config, db, accounts, clients, apis, seal, statusIndexes, room, runs } = parts;
  const { now = Date.now, exactNow = async () => now() } = parts;
  const reads = createRequestReads((id) => accounts.find(id));
  const { people } = reads;
  const strangers = {
    limits: room,
    network: () => {
      const address = Provider.ctx && requestOf(Provider.ctx).address;
      return address === undefined ? undefined : networkOf(address);
    },
  };
  const models = createModels(db, findClientMetadata, parts, now, strangers, reads);
  const consents = createConsents(db, now);
  const rotation = createRefreshRotation({
    tokens: models,
    handles: createRefreshHandles(seal.derive('refresh handles')),
    rules: {
      grace: config.tokens.refreshGrace,
      spacing: config.tokens.refreshSpacing,
      life: config.tokens.refreshTokenLife,
    },
    now,
    exactNow,
    runs,
  });
  const states = new WeakMap<IncomingMessage, RequestState>();
  const cookieKeys = cookieKeysOf(seal);
  const isKnownScope = knownScopes(apis);
  const protect = protection({ issuer: config.issuer });
  // All tokens of an answer are of the same moment, which may have been before this one.
  const datedNow = () => (Provider.ctx?.state as { datedAt?: number } | undefined)?.datedAt ?? now();
  let current = build(firstKeys);

  interface Built {
    provider: Provider;
    formats: TokenFormats;
    metadata: MetadataResponses;
    callback: (req: IncomingMessage, res: ServerResponse) => Promise<void>;
    tokenEndpoint: TokenEndpoint | undefined;
  }

  function build(keys: SigningKeys): Built {
    const formats = createTokenFormats(config.issuer, keys, config.tokens.refreshTokenFormat, now);
    const issuing = createIssuing({
      issuer: config.issuer,
      signer: keys.active,
      formats,
      apis,
      lives: { accessToken: config.tokens.accessTokenLife, idToken: config.tokens.idTokenLife },
      statusListUri: parts.statusLists.uriOf,
    });
    const refresh = createProviderRefresh({ models, rotation, issuing, now });
    const told = { ...parts, people, models, consents, cookieKeys, now: datedNow, isKnownScope };
    const provider = createProvider(config.issuer, configurationFor(told, keys), {
      formats,
      refresh,
      statusIndexes,
      now: datedNow,
      isKnownScope,
      secretThrottle: parts.secretThrottle,
      findApplication: (clientId) => clients.find(clientId),
      stateOf: (req) => states.get(req),
      // Not which is later: the clocks of servers, and of whoever types the command, may be apart.
      isOver: async ({ accountId, signedOutAt }) => (await people(accountId))?.signedOutAt?.getTime() !== signedOutAt,
    });
    provider.silent = true;
    const metadata = createMetadataResponses({
      issuer: config.issuer,
      maxAgeSeconds: config.keys.jwksMaxAge,
      newestPreparedAt: keys.newestPreparedAt,
      jwksServed: parts.jwksServed,
    });
    useMiddleware(provider, { ...parts, refresh, formats, metadata });
    return {
      provider,
      formats,
      metadata,
      callback: provider.callback() as Built['callback'],
      tokenEndpoint: parts.tokenEndpoint === 'oidc-provider' ? undefined : shortWay(formats, issuing),
    };
  }

  function shortWay(formats: TokenFormats, issuing: Issuing): TokenEndpoint {
    const { accessTokenLife, refreshTokenLife } = config.tokens;
    const { secretThrottle, audit, log, upstream } = parts;
    const shared = { issuing, formats, models, rotation, now };
    return createTokenEndpoint({
      issuer: config.issuer,
      clients,
      secretThrottle,
      audit,
      log,
      now,
      arrivalOf: rotation.arrivalOf,
      grants: {
        client_credentials: (request) =>
          grantClientCredentials(request, { issuing, apis, statusIndexes, accessTokenLife, now }),
        refresh_token: (request, from) => grantRefresh(request, from, { ...shared, upstream, isKnownScope }),
        authorization_code: (request) => grantCode(request, { ...shared, refreshTokenLife }),
      },
    });
  }

  async function findClientMetadata(clientId: string) {
    const application = await clients.find(clientId);
    return application && toMetadata(application);
  }

  return {
    ...createPendingSignIns({ provider: () => current.provider, states, models, consents, clients, apis, now }),

    async handle(req, res, state) {
      states.set(req, state);
      await current.callback(req, res);
    },

    findDocument: (req) => current.metadata.find(req),
    async handleToken(req, res, state) {
      if (await current.tokenEndpoint?.answer(req, res, state)) return;
      protect(res);
      res.setHeader('X-Request-Id', state.requestId);
      states.set(req, state);
      await current.callback(req, res);
    },

    useKeys(keys) {
      const previous = current;
      current = build(keys);
      previous.formats.close();
    },

    lookUp: (token) =>
      lookUpToken(token, {
        models,
        formats: current.formats,
        issuer: config.issuer,
        graceMs: config.tokens.refreshGrace * 1000,
        now,
      }),

    sweep: models.sweep,
    close: () => current.formats.close(),
  };
}
