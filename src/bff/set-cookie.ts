// Cookies that a response must not lose. A renewed session whose cookies do not reach the browser is a session lost, so
// they are not put among the headers now, where a framework that answers an error clears them (Koa does) or a handler
// replaces them, but when the head is written.

import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http';

const pending = new WeakMap<ServerResponse, string[]>();

/** Set-Cookie lines for the response, whatever becomes of it. Its head must not be written yet. */
export function addCookies(res: ServerResponse, lines: readonly string[]): void {
  if (lines.length === 0) return;
  const waiting = pending.get(res);
  if (waiting) waiting.push(...lines);
  else defer(res, [...lines]);
}

function defer(res: ServerResponse, lines: string[]): void {
  pending.set(res, lines);
  const writeHead = res.writeHead;
  // Also what is written without a call of writeHead goes through here: node makes that call itself.
  res.writeHead = function writeHeadWithCookies(status: number, ...rest: unknown[]) {
    res.writeHead = writeHead;
    if (typeof rest[0] === 'string') res.statusMessage = rest.shift() as string;
    for (const [name, value] of pairs((rest[0] ?? rest[1]) as Headers)) res.setHeader(name, value);
    res.appendHeader('Set-Cookie', lines);
    // A shared cache that kept this answer would hand one person's session to the next.
    res.setHeader('Cache-Control', 'no-store');
    return res.writeHead(status);
  } as typeof res.writeHead;
}

type Headers = OutgoingHttpHeaders | OutgoingHttpHeader[] | undefined;

// writeHead takes an object, or names and values in turn, in which a name may come again.
function pairs(headers: Headers): [string, string | number | readonly string[]][] {
  if (!Array.isArray(headers)) {
    return Object.entries(headers ?? {}).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
  }
  const flat = Array.isArray(headers[0]) ? headers.flat() : headers;
  const found = new Map<string, [string, string[]]>();
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const [first = '', value = ''] = flat.slice(at, at + 2);
    const name = String(first);
    const known = found.get(name.toLowerCase()) ?? [name, []];
    known[1].push(...[value].flat().map(String));
    found.set(name.toLowerCase(), known);
  }
  return [...found.values()].map(([name, values]) => {
    const [value, ...others] = values;
    return [name, value === undefined || others.length > 0 ? values : value];
  });
}
