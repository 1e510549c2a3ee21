// Links back to the client (`client_uri`, RFC 7591 §2) from a page on which nothing else can be done: to the
// application that the person came from, at the address that was registered for it. Which application that is, the
// browser's cookies of sign-ins tell, and no request.

import type { Context } from 'koa';
import type { Clients, RegisteredClient } from '../clients/clients.ts';
import type { Seal } from '../keys/seal.ts';
import { requestOf } from '../web/request.ts';
import { cookieKeysOf, type LostSignIn, lastApplication, uidOf, whyLost } from './cookies.ts';

export interface ReturnLink {
  href: string;
  label: string;
}

type Visit = Pick<Context, 'get' | 'path' | 'state'>;

export interface ReturnLinks {
  /** Why the sign-in of this request cannot be continued, and where to begin another one. */
  whyLost(ctx: Visit): Promise<Pick<LostSignIn, 'reason'> & { home?: ReturnLink | undefined }>;
  /** To the application that is known, or else to that of the browser's last sign-in. */
  from(ctx: Visit, clientId?: string): Promise<ReturnLink | undefined>;
  /** The same from a page that belongs to no application: where there is one of ours alone, to that. */
  fromNowhere(ctx: Visit): Promise<ReturnLink | undefined>;
}

interface ReturnLinksParts {
  /** Public URL of this server. */
  issuer: string;
  seal: Pick<Seal, 'derive'>;
  clients: Pick<Clients, 'find' | 'list'>;
}

export function createReturnLinks({ issuer, seal, clients }: ReturnLinksParts): ReturnLinks {
  const keys = cookieKeysOf(seal);

  async function to(clientId: string | undefined): Promise<ReturnLink | undefined> {
    // The database may be what the page is about: then there is no way, and a page all the same.
    const application = clientId === undefined ? undefined : await clients.find(clientId).catch(() => undefined);
    return application && wayTo(application);
  }

  const from = (ctx: Visit, clientId?: string) => to(clientId ?? lastApplication(ctx.get('Cookie'), issuer, keys));

  return {
    async whyLost(ctx) {
      const uid = requestOf(ctx).signIn ?? uidOf(ctx.path);
      const { reason, clientId } = whyLost(ctx.get('Cookie'), issuer, uid, keys);
      return { reason, home: await from(ctx, clientId) };
    },
    from,
    async fromNowhere(ctx) {
      const known = await from(ctx);
      if (known) return known;
      const all = await clients.list().catch(() => []);
      const ours = all.filter(({ firstParty, disabledAt }) => firstParty && !disabledAt);
      const [only, ...others] = ours.flatMap((application) => wayTo(application) ?? []);
      return others.length === 0 ? only : undefined;
    },
  };
}

function wayTo({ name, clientUri }: RegisteredClient): ReturnLink | undefined {
  return clientUri === undefined ? undefined : { href: clientUri, label: `Go to ${name}` };
}
