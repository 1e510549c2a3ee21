// The four addresses of the bff: sign-in, callback, user, sign-out.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { isNavigation, refuseForgery } from '@signet-idp/verifier/internal';
import { cookiesOf, type SessionAccess } from './access.ts';
import { BffError, isBffError } from './errors.ts';
import type { IssuerClient } from './issuer.ts';
import type { LoginTransactionCookies } from './login-transactions.ts';
import type { BffSettings } from './options.ts';
import { answerError, answerJson, answerPage, answerRedirect, targetOf } from './responses.ts';
import { readReturnTo } from './return-to.ts';
import { newSessionId, type SessionCookies } from './session.ts';
import { addCookies } from './set-cookie.ts';

const ownPath = '/bff';
export const callbackPath = `${ownPath}/callback`;

/** Where a person is sent to sign in and come back to `target`. */
export function signInPath(target: string): string {
  return `${ownPath}/sign-in?${new URLSearchParams({ returnTo: target })}`;
}

interface RouteComponents {
  settings: BffSettings;
  transactions: LoginTransactionCookies;
  sessions: SessionCookies;
  access: SessionAccess;
  issuer: IssuerClient;
}

type Route = (req: IncomingMessage, res: ServerResponse, url: URL) => Promise<void>;

/** Answers a request for one of the four addresses; false where it is for another. */
export function createRoutes({ settings, transactions, sessions, access, issuer }: RouteComponents) {
  const { baseUrl, signedOutPath, onError } = settings;

  const routes = new Map<string, { method: 'GET' | 'POST'; answer: Route }>([
    [`${ownPath}/sign-in`, { method: 'GET', answer: beginSignIn }],
    [callbackPath, { method: 'GET', answer: finishSignIn }],
    [`${ownPath}/user`, { method: 'GET', answer: answerUser }],
    [`${ownPath}/sign-out`, { method: 'POST', answer: signOut }],
  ]);

  async function beginSignIn(req: IncomingMessage, res: ServerResponse, url: URL): Promise<void> {
    // A script or an image that came here would follow the redirect to the issuer and fail there, puzzlingly.
    if (req.headers['sec-fetch-dest'] !== undefined && !isNavigation(req)) {
      throw new BffError('not_a_page_load', 'a sign-in is a page load: location.assign("/bff/sign-in")');
    }
    const { url: location, transaction } = await issuer.begin();
    const returnTo = readReturnTo(url.searchParams.get('returnTo'), baseUrl, ownPath);
    addCookies(res, transactions.remember({ ...transaction, returnTo, begunAt: settings.now() }, cookiesOf(req)));
    answerRedirect(res, location);
  }

  async function finishSignIn(req: IncomingMessage, res: ServerResponse, url: URL): Promise<void> {
    const transaction = transactions.find(url.searchParams.get('state'), cookiesOf(req));
    if (!transaction) return lost(req, res);
    addCookies(res, [transactions.forget(transaction)]);
    try {
      const { session } = await access.begin(newSessionId(), await issuer.finish(url.search, transaction));
      addCookies(res, sessions.begin(session, cookiesOf(req)));
      answerRedirect(res, baseUrl + transaction.returnTo);
    } catch (error) {
      if (!(error instanceof BffError)) throw error;
      if (error.code === 'sign_in_cancelled')
        return answerRedirect(res, `${baseUrl}${signedOutPath}?sign-in=cancelled`);
      onError(error);
      // A page, not a redirect to where it began: that may lead here again, and again.
      answerPage(res, error.status, sentence(error), signInPath(transaction.returnTo));
    }
  }

  // The back button, a bookmark of the callback, or a cookie that the browser did not keep.
  async function lost(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const signedIn = await access.open(req, res).then(
      () => true,
      () => false,
    );
    if (signedIn) return answerRedirect(res, `${baseUrl}/`);
    const reasons = 'this sign-in was already finished, took too long, or began in another browser';
    const error = new BffError('sign_in_lost', reasons);
    answerPage(res, error.status, sentence(error), signInPath('/'));
  }

  async function answerUser(req: IncomingMessage, res: ServerResponse): Promise<void> {
    refuseForgery(req);
    try {
      const { session, token } = await access.open(req, res);
      answerJson(res, 200, { user: session.user, scopes: token.scopes, expiresAt: token.expiresAt.toISOString() });
    } catch (error) {
      if (!isBffError(error, 'signed_out')) throw error;
      answerJson(res, 200, { user: null }); // to ask is no mistake, and browsers print every 401 on the console
    }
  }

  async function signOut(req: IncomingMessage, res: ServerResponse): Promise<void> {
    refuseForgery(req);
    const subject = await access.end(req, res);
    const location = await issuer.signOutUrl(subject).catch((error: BffError) => {
      onError(error);
      return baseUrl + signedOutPath; // signed out here at least
    });
    // Not a redirect: a script asked, since only a script can send the header, and the page has to go there.
    answerJson(res, 200, { location });
  }

  return async function answerRoute(req: IncomingMessage, res: ServerResponse): Promise<boolean> {
    const target = targetOf(req);
    const [path = ''] = target.split('?', 1);
    const route = routes.get(path);
    if (!route) return false;
    try {
      if (req.method !== route.method) {
        res.setHeader('Allow', route.method);
        throw new BffError('method_not_allowed', `this address answers ${route.method}`);
      }
      await route.answer(req, res, new URL(target, baseUrl));
    } catch (error) {
      answerError(res, error);
    }
    return true;
  };
}

function sentence({ message }: Error): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
}
