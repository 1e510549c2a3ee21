// Owns the current Provider: builds it, hands it requests, and replaces it when the keys change. All protocol state is
// in storage, so a sign-in or a code begun under one Provider finishes under the next.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { Provider } from 'oidc-provider';
import type { SigningKeys } from '../keys/keyring.ts';
import { networkOf } from '../web/address.ts';
import type { FindDocument } from '../web/document.ts';
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
import { createRefreshRotation } from './refresh.ts';
import { createRequestReads } from './request-reads.ts';
import { knownScopes } from './scope.ts';
import { createTokenFormats, type TokenFormats } from './tokens.ts';

export interface Issuer extends PendingSignIns {
  /** Answers a protocol request. Nobody else may write to `res` afterwards. */
  handle(req: IncomingMessage, res: ServerResponse, state: RequestState): Promise<void>;
  /** The JWKS and the metadata, once oidc-provider has answered them with the present keys. */
  findDocument: FindDocument;
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
  // Sealed once per refresh, so under a key of its own: see createSeal on how often one key may be used.
  const answerSeal = seal.forPurpose('refresh answers');
  const rotation = createRefreshRotation(
    models,
    answerSeal,
    { grace: config.tokens.refreshGrace, spacing: config.tokens.refreshSpacing },
    now,
    exactNow,
    runs,
  );
  const states = new WeakMap<IncomingMessage, RequestState>();
  const cookieKeys = cookieKeysOf(seal);
  const isKnownScope = knownScopes(apis);
  let current = build(firstKeys);

  interface Built {
    provider: Provider;
    formats: TokenFormats;
    metadata: MetadataResponses;
    callback: (req: IncomingMessage, res: ServerResponse) => Promise<void>;
  }

  function build(keys: SigningKeys): Built {
    const formats = createTokenFormats(config.issuer, keys, config.tokens.refreshTokenFormat, now);
    const told = { ...parts, people, models, consents, cookieKeys, now, isKnownScope };
    const provider = createProvider(config.issuer, configurationFor(told, keys), {
      formats,
      rotation,
      statusIndexes,
      now,
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
    useMiddleware(provider, { ...parts, rotation, formats, metadata });
    return { provider, formats, metadata, callback: provider.callback() as Built['callback'] };
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

    async sweep(at, limit) {
      const grace = config.tokens.refreshGrace * 1000;
      const unanswered = (await runs?.unansweredSince(at, grace)) ?? at;
      return models.sweep(at, Math.min(at - grace, unanswered), limit);
    },
    close: () => current.formats.close(),
  };
}
