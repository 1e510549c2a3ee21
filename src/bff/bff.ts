// createBff: puts the components together, and is the whole surface for a plain node:http server. The adapters for Koa,
// Express and Fastify only speak their framework's language.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AccessToken } from '@signet-idp/verifier';
import { isNavigation, refuseForgery } from '@signet-idp/verifier/internal';
import { createSessionAccess } from './access.ts';
import { createCookieStyle } from './cookies.ts';
import { BffError, isBffError } from './errors.ts';
import { createIssuerClient } from './issuer.ts';
import { createLoginTransactionCookies } from './login-transactions.ts';
import { type BffOptions, readOptions } from './options.ts';
import { createProxyUpstream, type ProxyOptions } from './proxy.ts';
import { answerError, answerRedirect, targetOf } from './responses.ts';
import { callbackPath, createRoutes, signInPath } from './routes.ts';
import { createCookieSeal } from './seal.ts';
import { createSessionCookies } from './session.ts';

export interface Bff {
  /**
   * Answers `/bff/sign-in`, `/bff/callback`, `/bff/user` and `/bff/sign-out`; false where the request is for something
   * else, which is then yours to answer.
   */
  handle(req: IncomingMessage, res: ServerResponse): Promise<boolean>;
  /**
   * The verified access token of the session that the request's cookies hold, also at `req.token`. Undefined where
   * there is none: then it has answered, a page load with a redirect to the sign-in, anything else with 401 (403 for a
   * request from another site, 503 while the issuer cannot be asked). Call it before the response begins.
   */
  protect(req: IncomingMessage, res: ServerResponse): Promise<AccessToken | undefined>;
  /**
   * A handler that passes requests under `from` on to the upstream `to`, with the access token in the place of the
   * cookie. False where the request is for something else.
   * @throws {TypeError} when an address is not safe
   */
  proxyTo(options: ProxyOptions): (req: IncomingMessage, res: ServerResponse) => Promise<boolean>;
  /** Stops the verifier's background work. */
  close(): void;
}

/**
 * Keeps a web application's tokens in sealed httpOnly cookies, away from JavaScript.
 *
 * @throws {TypeError} when an option is missing or unsafe
 * @example
 * const bff = createBff({
 *   issuer: 'https://id.example.com', clientId: 'shop', clientSecret: process.env.CLIENT_SECRET,
 *   baseUrl: 'https://shop.example.com', cookieKeys: [process.env.COOKIE_KEY], resource: 'https://orders.example.com',
 *   scope: 'openid profile email orders:read',
 * });
 * const orders = bff.proxyTo({ from: '/api', to: 'https://orders.example.com' });
 * createServer(async (req, res) => {
 *   if (await bff.handle(req, res) || await orders(req, res)) return;
 *   const token = await bff.protect(req, res);
 *   if (token) res.end(`Hello ${token.sub}`);
 * });
 */
export function createBff(options: BffOptions): Bff {
  const settings = readOptions(options);
  const { baseUrl, clientId, cookieKeys, cookieName, sameSite, signedOutPath, onError, now } = settings;
  const application = JSON.stringify([clientId, baseUrl]);
  const style = createCookieStyle({ name: cookieName, baseUrl, sameSite });
  const sessions = createSessionCookies(style, createCookieSeal(cookieKeys, application, 'session'));
  const transactions = createLoginTransactionCookies(style, createCookieSeal(cookieKeys, application, 'attempt'), now);
  const issuer = createIssuerClient({
    ...settings,
    redirectUri: baseUrl + callbackPath,
    postLogoutRedirectUri: baseUrl + signedOutPath,
  });
  const access = createSessionAccess(settings, sessions, issuer);

  return {
    handle: createRoutes({ settings, transactions, sessions, access, issuer }),

    async protect(req, res) {
      try {
        refuseForgery(req, { navigation: true });
        const { token } = await access.open(req, res);
        (req as IncomingMessage & { token?: AccessToken }).token = token;
        return token;
      } catch (error) {
        if (isBffError(error, 'signed_out') && isNavigation(req)) answerRedirect(res, signInPath(targetOf(req)));
        else answerError(res, error);
        return undefined;
      }
    },

    proxyTo(proxyOptions) {
      const upstream = createProxyUpstream(proxyOptions);
      return async (req, res) => {
        try {
          const address = upstream.addressOf(req);
          if (address === undefined) return false;
          refuseForgery(req);
          const { session } = await access.open(req, res);
          await upstream.forward(req, res, address, session.accessToken);
        } catch (error) {
          if (error instanceof BffError && error.code.startsWith('upstream_')) onError(error);
          if (!res.destroyed) answerError(res, error);
        }
        return true;
      };
    },

    close: () => settings.verifier.close(),
  };
}
