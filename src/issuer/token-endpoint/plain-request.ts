// A plain request to the token endpoint (RFC 6749 §3.2): a short form, a client that is known and authenticated in one of the
// usual ways (§2.3.1), each parameter once. Whatever is not so, or may be wrong, is none and goes on, unread, to oidc-provider, which
// knows the rest and says what is wrong. So this never refuses anything, and changes nothing.

import type { IncomingMessage } from 'node:http';
import { parse } from 'node:querystring';
import { type Clients, needsSecret, type RegisteredClient, secretMatches } from '../../clients/clients.ts';
import { databaseFailureIn } from '../../database/failures.ts';
import type { SecretThrottle } from '../../web/secret-throttle.ts';
import { readBasic } from '../endpoints/client-auth.ts';

export interface PlainRequest {
  application: RegisteredClient;
  /** Those that have a value; to oidc-provider an empty one is none. */
  parameters: Readonly<Record<string, string>>;
  /** Of the page that asks, where it is one. */
  origin: string | undefined;
  /** Lets somebody else read the body. */
  putBack(): void;
}

interface PlainRequestParts {
  clients: Pick<Clients, 'find'>;
  secretThrottle: Pick<SecretThrottle, 'knows'>;
}

const longestForm = 16_384;
const formType = /^application\/x-www-form-urlencoded(?:; ?charset=utf-8)?$/i;
/** Headers that say that there is more to a request (RFC 9449, OAuth attestation-based client authentication). */
const beside = [
  'dpop',
  'oauth-client-attestation',
  'oauth-client-attestation-pop',
  'content-encoding',
  'transfer-encoding',
];

/** @returns undefined: it is none, and its body can still be read */
export async function readPlainRequest(
  req: IncomingMessage,
  address: string,
  parts: PlainRequestParts,
): Promise<PlainRequest | undefined> {
  const { headers } = req;
  const length = Number(headers['content-length']);
  const isShortForm = formType.test(headers['content-type'] ?? '') && length > 0 && length <= longestForm;
  if (!isShortForm || beside.some((name) => headers[name] !== undefined)) return undefined;
  const body = await wholeBody(req, length);
  if (!body) return undefined;
  const putBack = () => req.unshift(body);
  const values = singleValues(body);
  const parameters = values && isUsual(values) ? values : undefined;
  const { origin } = headers;
  const application =
    parameters && (await authenticated(headers.authorization, parameters, address, parts).catch(unknownWhileAway));
  if (!application || (origin !== undefined && !application.origins.includes(origin))) {
    putBack();
    return undefined;
  }
  return { application, parameters, origin, putBack };
}

/** With the database away: whoever is asked next says so. */
function unknownWhileAway(error: unknown): undefined {
  if (!databaseFailureIn(error)) throw error;
}

async function authenticated(
  authorization: string | undefined,
  parameters: Record<string, string>,
  address: string,
  { clients, secretThrottle }: PlainRequestParts,
): Promise<RegisteredClient | undefined> {
  const credentials = credentialsOf(authorization, parameters);
  const application = credentials && (await clients.find(credentials.clientId));
  if (!application) return undefined;
  const { secret } = credentials;
  const { clientId, secretHash, type } = application;
  if (!needsSecret(type)) return secret === undefined ? application : undefined;
  if (secret === undefined || secretHash === undefined) return undefined;
  // From where it never came before, the right one may have to wait for its turn.
  if (!secretThrottle.knows(clientId, address)) return undefined;
  return secretMatches(secretHash, secret) ? application : undefined;
}

/** The body, once all of it is there, without its end: so that it can be put back. Undefined: it does not come. */
async function wholeBody(req: IncomingMessage, length: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  for (let received = 0; ; ) {
    // As much as is there, by number: to ask for more, or for all, would be to ask for the end.
    const chunk = req.readableLength > 0 ? (req.read(req.readableLength) as Buffer | null) : null;
    if (chunk) chunks.push(chunk);
    received += chunk?.length ?? 0;
    if (received >= length) return chunks.length === 1 ? chunk! : Buffer.concat(chunks);
    if (req.destroyed || req.readableEnded) return undefined;
    if (!chunk) await somethingHappensTo(req);
  }
}

function somethingHappensTo(req: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      for (const event of happenings) req.off(event, go);
      resolve();
    };
    for (const event of happenings) req.on(event, go);
  });
}

const happenings = ['readable', 'error', 'close'];

/** Plain text without control characters, each parameter once. */
const plainText = /^[\x20-\x7e]*$/;

function singleValues(bytes: Buffer): Record<string, string> | undefined {
  const fields = Object.entries(parse(bytes.toString('latin1')));
  const isPlain = fields.every(
    ([name, value]) => plainText.test(name) && typeof value === 'string' && plainText.test(value),
  );
  return isPlain
    ? (Object.fromEntries(fields.filter(([, value]) => value !== '')) as Record<string, string>)
    : undefined;
}

/** RFC 6749 §3.3. */
const scopePattern = /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/;

// Other providers' name for `resource` is read in ../request-parameters.ts alone.
const isUsual = ({ scope, audience }: Record<string, string>) =>
  audience === undefined && (scope === undefined || scopePattern.test(scope));

interface Credentials {
  clientId: string;
  secret: string | undefined;
}

function credentialsOf(authorization: string | undefined, parameters: Record<string, string>): Credentials | undefined {
  const { client_id: clientId, client_secret: secret } = parameters;
  if (authorization === undefined) return clientId === undefined ? undefined : { clientId, secret };
  const basic = secret === undefined ? readBasic(authorization) : undefined;
  if (!basic || basic.secret === '' || ![basic.clientId, basic.secret].every((text) => plainText.test(text)))
    return undefined;
  return clientId === undefined || clientId === basic.clientId ? basic : undefined;
}
