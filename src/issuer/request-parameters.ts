// The parameters of a protocol request, looked at once, before oidc-provider uses any. What is refused here is thrown
// inside its error handling: at the authorization endpoint the refusal goes back to the application by its redirect
// URI, where that and the client are known, in its response mode and with `iss` (RFC 6749 §4.1.2.1, RFC 9207).

import { errors, type KoaContextWithOIDC } from 'oidc-provider';
import { z } from 'zod';
import { resourceOf } from '../clients/apis.ts';
import { authenticatedTwice } from '../clients/clients.ts';
import { readUnverified } from './unverified-jwt.ts';

type Values = Record<string, string | string[] | undefined>;

export interface ContextClass {
  new (...input: never[]): { ctx: KoaContextWithOIDC; route: string; entity(key: string, value: unknown): void };
}

/**
 * Characters of a parameter that is kept until the answer. Anybody may ask, so anybody may have us keep something: not
 * more than an application has a use for. No standard limits `state`; ASP.NET Core behind another provider sends 2,400.
 */
const longest: Record<string, number> = { state: 8192, scope: 4096 };
const longestOther = 2048;
const longestInAll = 12_288;
// The first two have to be known to us word by word; the others are read and not kept.
const notKept = new Set(['client_id', 'redirect_uri', 'id_token_hint', 'request', 'request_uri', 'registration']);

/** oidc-provider's context of a request, which refuses what nobody further in should have to look at. */
export function readableContext(Base: ContextClass): ContextClass {
  return class OIDCContext extends Base {
    #body: Values | undefined;
    #params: Values | undefined;

    get body() {
      return this.#body;
    }

    // The form of a request, just parsed (lib/shared/selective_body.js).
    set body(form) {
      if (holdsNull(form ?? {})) throw nullCharacter();
      this.#body = form;
    }

    get params() {
      return this.#params;
    }

    // What the endpoint knows of it (lib/shared/assemble_params.js). Set first: a refusal is answered by it.
    set params(params) {
      this.#params = params;
      if (!params) return;
      const { route, ctx } = this;
      if (route === 'authorization') {
        heedRequestObject(params);
        refuseNull(params);
        refuseUnsupported(params);
      }
      if (route === 'authorization' || route === 'end_session') refuseLong(params);
      if (route === 'token' && ctx.headers.authorization && params.client_secret) {
        throw new errors.InvalidRequest(authenticatedTwice);
      }
      if (route === 'authorization' || route === 'token') {
        readAudience(params, ctx.method === 'POST' ? this.#body : ctx.query);
      }
    }

    override entity(key: string, value: unknown) {
      super.entity(key, value);
      // Checked, and so not kept with the sign-in: what it says is what is asked for from here on.
      if (key === 'IdTokenHint' && this.route === 'authorization') this.#params!.id_token_hint = undefined;
    }
  };
}

const holdsNull = (values: Values) =>
  Object.entries(values)
    .flat(2)
    .some((text) => text?.includes('\0'));

const nullCharacter = () => new errors.InvalidRequest('a parameter has a null character');

/** U+0000 is in no text of PostgreSQL: the query for such a client would fail. */
function refuseNull(params: Values): void {
  if (!holdsNull({ ...params })) return;
  if ([params.client_id].flat().some((clientId) => clientId?.includes('\0'))) params.client_id = undefined;
  throw nullCharacter();
}

function refuseLong(params: Values): void {
  const kept = Object.entries(params).filter(([name, value]) => value !== undefined && !notKept.has(name));
  const lengthOf = (value: string | string[] | undefined) => [value].flat().join(' ').length;
  for (const [name, value] of kept) {
    const most = longest[name] ?? longestOther;
    if (lengthOf(value) <= most) continue;
    // A refusal repeats `state` (RFC 6749 §4.1.2.1), as far as an address can hold it on its way through proxies.
    if (lengthOf(params.state) > longestInAll) params.state = undefined;
    throw new errors.InvalidRequest(`${name} is longer than ${most} characters`);
  }
  // As they are kept, where a control character has six bytes.
  const bytesOf = (value: Values[string]) => Buffer.byteLength(JSON.stringify(value));
  if (kept.reduce((sum, [, value]) => sum + bytesOf(value), 0) > longestInAll) {
    throw new errors.InvalidRequest(`the parameters are longer than ${longestInAll} characters together`);
  }
}

const text = z
  .string()
  .refine((value) => !value.includes('\0'))
  .optional()
  .catch(undefined);
const wayBack = z.object({ response_mode: text, state: text, redirect_uri: text });

/** OIDC Core §3.1.2.6. */
function refuseUnsupported(params: Values): void {
  if (params.request) throw new errors.RequestNotSupported('request objects are not supported here');
  if (params.request_uri) throw new errors.RequestUriNotSupported('request_uri is not supported here');
  if (params.registration) throw new errors.RegistrationNotSupported('registration is not supported here');
}

/**
 * Who sends a request object may have said only in it how and where to answer. It is believed as much as the query,
 * which nobody has signed either.
 */
function heedRequestObject(params: Values): void {
  if (typeof params.request !== 'string') return;
  const read = readUnverified(params.request, { header: z.object({}), claims: wayBack });
  const { redirect_uri: address, ...others } = read?.claims ?? {};
  // What stands in both is taken from the object (OIDC Core §6.1). Not the address: where the query names one that is
  // not registered, nobody is sent anywhere, whatever an object says that we do not support (RFC 6749 §3.1.2.4).
  params.redirect_uri ??= address;
  for (const [name, value] of Object.entries(others)) if (value) params[name] = value;
}

/** Other providers' name for `resource` (RFC 8707). Ignored, it would yield a token for another API. */
function readAudience(params: Values, { audience }: Values = {}): void {
  if (!audience) return;
  if (Array.isArray(audience)) throw new errors.InvalidRequest('audience must not be provided twice');
  const resource = resourceOf(audience);
  // Some send the API's name under both: then it need not be the URI that `resource` has to be.
  if (params.resource === audience) params.resource = resource;
  params.resource ??= resource;
  if (![params.resource].flat().includes(resource)) {
    throw new errors.InvalidTarget('audience and resource name different APIs');
  }
}
