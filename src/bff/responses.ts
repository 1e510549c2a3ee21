// The few shapes of answer that the bff gives itself: JSON for scripts, a redirect, and a page without style or script
// for a sign-in that did not end well.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { VerificationError } from '@signet-idp/verifier';
import { BffError } from './errors.ts';

export function answerJson(
  res: ServerResponse,
  status: number,
  body: object,
  headers: Record<string, string> = {},
): void {
  const text = JSON.stringify(body);
  res.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': Buffer.byteLength(text),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...headers,
  });
  res.end(text);
}

export function answerRedirect(res: ServerResponse, location: string): void {
  // 303: whatever the method was, the next request is a GET. No address of ours is for the next site to know.
  res.writeHead(303, { Location: location, 'Cache-Control': 'no-store', 'Referrer-Policy': 'no-referrer' });
  res.end();
}

export function answerPage(res: ServerResponse, status: number, sentence: string, link: string): void {
  const text = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sign-in</title>
<p>${escaped(sentence)}</p>
<p><a href="${escaped(link)}">Sign in again</a></p>
</html>
`;
  res.writeHead(status, {
    'Content-Type': 'text/html; charset=utf-8',
    'Content-Length': Buffer.byteLength(text),
    'Content-Security-Policy': "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'Cache-Control': 'no-store',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
  });
  res.end(text);
}

/** The answer for an error of ours; any other is thrown on, to whoever handles the application's own. */
export function answerError(res: ServerResponse, error: unknown): void {
  if (!(error instanceof BffError) && !(error instanceof VerificationError)) throw error;
  if (res.headersSent) throw error;
  const body = { error: error instanceof BffError ? error.code : error.error, error_description: error.message };
  const { status, retryAfterSeconds: seconds } = error;
  answerJson(res, status, body, seconds === undefined ? {} : { 'Retry-After': String(seconds) });
}

/** Path and query as the client asked for them; Express keeps them here where a router is mounted on a path. */
export function targetOf(req: IncomingMessage): string {
  return (req as { originalUrl?: string }).originalUrl ?? req.url ?? '/';
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
