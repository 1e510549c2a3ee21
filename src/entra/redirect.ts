// The redirect to Microsoft: makes what a sign-in is recognised by when it comes back (state, nonce, PKCE, a cookie),
// keeps it in state.ts, and answers with the authorization URL. What is asked for is authorization-request.ts.

import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { Context } from 'koa';
import type { EntraConfig } from '../config/config.ts';
import { networkOf } from '../web/address.ts';
import { requestOf } from '../web/request.ts';
import { authorizationParameters, type BeginOptions } from './authorization-request.ts';
import type { BrowserCookie } from './cookie.ts';
import { authorizeUrl, type EntraApp } from './msal.ts';
import type { States } from './state.ts';

interface RedirectParts {
  config: EntraConfig;
  app: EntraApp;
  /** The client and tenant that a sign-in is begun with. */
  appKey: string;
  redirectUri: string;
  states: States;
  cookie: BrowserCookie;
}

/** @param challenge claims that Microsoft itself asked for after a first attempt */
type CreateAuthorizationUrl = (ctx: Context, uid: string, options: BeginOptions, challenge?: string) => Promise<string>;

export function createRedirect(parts: RedirectParts): CreateAuthorizationUrl {
  const { config, app, appKey, redirectUri, states, cookie } = parts;

  return async (ctx, uid, options, challenge) => {
    const { stepUp, oldestSeconds, ...parameters } = authorizationParameters(config, options, challenge);
    const [codeVerifier, nonce] = [randomBytes(32).toString('base64url'), randomBytes(32).toString('base64url')];
    const correlationId = randomUUID();
    const { state, browser } = await states.begin(
      {
        uid,
        app: appKey,
        redirectUri,
        codeVerifier,
        nonce,
        correlationId,
        ...(oldestSeconds !== undefined && { oldestSeconds }),
        ...(stepUp && { stepUp }),
        options,
        isSecondTry: challenge !== undefined,
      },
      networkOf(requestOf(ctx).address),
    );
    cookie.set(ctx, state, browser);
    const codeChallenge = createHash('sha256').update(codeVerifier).digest('base64url');
    const { responseMode } = config;
    return authorizeUrl(app, { ...parameters, redirectUri, responseMode, state, nonce, codeChallenge, correlationId });
  };
}
