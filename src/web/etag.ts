// Entity tags (RFC 9110 §8.8.3) of what is served from memory and asked for again and again.

import { hash } from 'node:crypto';
import type { Context } from 'koa';

export const entityTag = (content: string) => `"${hash('sha256', content, 'base64url').slice(0, 27)}"`;

/**
 * Sets the tag; true, and the status 304, where whoever asks has this already. Not ctx.fresh: fetch() sends
 * "Cache-Control: no-cache" with every If-None-Match, and that asks caches to ask us. We are the origin, and what was
 * compared is what holds now. (RFC 9111 §5.2.1.4)
 */
export function isNotModified(ctx: Pick<Context, 'get' | 'set' | 'status'>, tag: string): boolean {
  ctx.set('ETag', tag);
  if (!matchesTag(ctx.get('If-None-Match'), tag)) return false;
  ctx.status = 304;
  return true;
}

/** Whether an If-None-Match names the tag of something that there is: in a list, or by a star (RFC 9110 §13.1.2). */
export function matchesTag(ifNoneMatch: string, tag: string): boolean {
  if (ifNoneMatch === tag || ifNoneMatch.trim() === '*') return true;
  // A list may be as long as all headers together: it is taken apart where it can name this one at all.
  const sought = opaque(tag);
  return ifNoneMatch.includes(sought) && ifNoneMatch.split(',').map(opaque).includes(sought);
}

// Weak comparison: the mark of a weak one does not count. (RFC 9110 §8.8.3.2)
const opaque = (tag: string) => tag.trim().replace(/^W\//, '');
