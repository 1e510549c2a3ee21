// Posts to Entra's token endpoint and reads the answer by its status as well as by its text, which msal-node does not:
// to it `500 {}` is a success.

import { OAuthError, readErrorResponse } from './errors.ts';
import type { PostForm } from './msal.ts';
import { type Network, UpstreamError } from './network.ts';
import { TokenNotAccepted } from './verification.ts';

/** @throws (the function) {TokenRefusal} {UpstreamError} {TokenNotAccepted} there is no ID token */
export function tokenPoster(network: Network, correlationId: string): PostForm {
  return async (url, body) => {
    const contentType = 'application/x-www-form-urlencoded;charset=utf-8';
    const headers = { 'content-type': contentType, 'client-request-id': correlationId };
    const { status, document, requestId } = await network.request({ method: 'POST', url, body, headers });
    const refusal = readErrorResponse(document);
    if (refusal) throw new OAuthError(refusal, requestId);
    if (status !== 200) throw new UpstreamError('not_json', new URL(url).host, { status, requestId });
    if (typeof document['id_token'] !== 'string') throw new TokenNotAccepted('malformed');
    return document;
  };
}
