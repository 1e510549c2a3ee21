// Client authentication (RFC 6749 §2.3): none, the right one, each wrong one.

import type { Draft } from '../pair.ts';
import { add, authenticateInForm, basic, drop, encoded, type Own, set, type Variations } from '../requests.ts';
import { secrets } from '../world.ts';

const authorization = (make: (own: Own & { pair: string }) => string) => (draft: Draft, own: Own) => {
  const pair = `${encoded(own.clientId)}:${encoded(own.secret ?? 'a secret that nobody has, of some length')}`;
  draft.headers.authorization = make({ ...own, pair });
};
const base64 = (text: string) => Buffer.from(text).toString('base64');
const wrong = 'a wrong secret, as long as a right one is';
const jwtBearer = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const assertionOf = (claims: object) =>
  [...[{ alg: 'HS256' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')), 'AAAA'].join(
    '.',
  );

export const clientAuth: Variations = {
  'with its credentials in the form': authenticateInForm,
  'with its credentials in the form first': (draft, own) => {
    authenticateInForm(draft, own);
    draft.fields.reverse();
  },
  'with its credentials in the form twice': (draft, own) => {
    authenticateInForm(draft, own);
    if (own.secret) add(draft, 'client_secret', own.secret);
  },
  'with its credentials in both ways': (draft, own) => {
    authorization(({ pair }) => `Basic ${base64(pair)}`)(draft, own);
    set(draft, 'client_id', own.clientId);
    set(draft, 'client_secret', own.secret ?? wrong);
  },
  'with an empty client_secret beside the header': (draft) => set(draft, 'client_secret', ''),
  'with its credentials in the header': authorization(({ pair }) => `Basic ${base64(pair)}`),
  'with its credentials in the header, and its name in the form': (draft, own) => {
    authorization(({ pair }) => `Basic ${base64(pair)}`)(draft, own);
    set(draft, 'client_id', own.clientId);
  },
  'with its credentials in the header, and another name in the form': (draft, own) => {
    authorization(({ pair }) => `Basic ${base64(pair)}`)(draft, own);
    set(draft, 'client_id', own.clientId === 'spa' ? 'device' : 'spa');
  },
  'with an empty client_id': (draft) => set(draft, 'client_id', ''),
  'with client_id twice': (draft, { clientId }) => {
    set(draft, 'client_id', clientId);
    add(draft, 'client_id', clientId);
  },
  'with two client_ids': (draft, { clientId }) => {
    set(draft, 'client_id', clientId);
    add(draft, 'client_id', 'web');
  },
  'with its name alone': (draft, { clientId }) => {
    delete draft.headers.authorization;
    set(draft, 'client_id', clientId);
  },
  'with its name, and an empty secret': (draft, { clientId }) => {
    delete draft.headers.authorization;
    set(draft, 'client_id', clientId);
    set(draft, 'client_secret', '');
  },
  'with a space around its name': (draft, { clientId }) => {
    delete draft.headers.authorization;
    set(draft, 'client_id', ` ${clientId} `);
  },
  'without any authentication': (draft) => {
    delete draft.headers.authorization;
    drop(draft, 'client_id');
  },
  'with a wrong secret in the form': (draft, own) => {
    authenticateInForm(draft, own);
    set(draft, 'client_secret', wrong);
  },
  'with a wrong secret in the header': authorization(({ clientId }) => basic(clientId, wrong)),
  'with its secret and one letter more': authorization(({ clientId, secret }) =>
    basic(clientId, `${secret ?? wrong}x`),
  ),
  'with its secret and one letter less': authorization(({ clientId, secret }) =>
    basic(clientId, (secret ?? wrong).slice(0, -1)),
  ),
  'with the digest of its secret': authorization(({ clientId, secret }) =>
    basic(clientId, Buffer.from(secret ?? wrong).toString('hex')),
  ),
  'with a secret that is none of ASCII': authorization(({ clientId }) => basic(clientId, 'schlüssel')),
  'with a null character in the secret': authorization(({ clientId }) => basic(clientId, `a\0b`)),
  'as an application that there is not': authorization(() => basic('nobody', wrong)),
  'as an application that there is not, by its name alone': (draft) => {
    delete draft.headers.authorization;
    set(draft, 'client_id', 'nobody');
  },
  'as an application with a name of 300 letters': (draft) => {
    delete draft.headers.authorization;
    set(draft, 'client_id', 'n'.repeat(300));
  },
  'as an application with a name beyond ASCII': (draft) => {
    delete draft.headers.authorization;
    set(draft, 'client_id', 'größe');
  },
  'as __proto__': (draft) => {
    delete draft.headers.authorization;
    set(draft, 'client_id', '__proto__');
  },
  'as another public application': (draft, { clientId }) => {
    delete draft.headers.authorization;
    set(draft, 'client_id', clientId === 'device' ? 'spa' : 'device');
  },
  'as another application with a secret': (draft, { clientId }) => {
    drop(draft, 'client_id');
    const other = clientId === 'web' ? 'web-two-apis' : 'web';
    draft.headers.authorization = basic(other, secrets[other]!);
  },
  'as a service': (draft) => {
    drop(draft, 'client_id');
    draft.headers.authorization = basic('service', secrets.service!);
  },
  'as a disabled application': (draft) => {
    drop(draft, 'client_id');
    draft.headers.authorization = basic('disabled-web', secrets['disabled-web']!);
  },
  'as a disabled service': (draft) => {
    drop(draft, 'client_id');
    draft.headers.authorization = basic('disabled-service', secrets['disabled-service']!);
  },
  'as a disabled application with a wrong secret': (draft) => {
    drop(draft, 'client_id');
    draft.headers.authorization = basic('disabled-web', wrong);
  },
  'with a small "basic"': authorization(({ pair }) => `basic ${base64(pair)}`),
  'with "BASIC"': authorization(({ pair }) => `BASIC ${base64(pair)}`),
  'with two spaces after "Basic"': authorization(({ pair }) => `Basic  ${base64(pair)}`),
  'with a tab after "Basic"': authorization(({ pair }) => `Basic\t${base64(pair)}`),
  'with something after the credentials': authorization(({ pair }) => `Basic ${base64(pair)} x`),
  'with a comma after the credentials': authorization(({ pair }) => `Basic ${base64(pair)},`),
  'with a space after the credentials': authorization(({ pair }) => `Basic ${base64(pair)} `),
  'with credentials without padding': authorization(({ pair }) => `Basic ${base64(pair).replaceAll('=', '')}`),
  'with credentials with too much padding': authorization(({ pair }) => `Basic ${base64(pair)}===`),
  'with credentials in base64url': authorization(
    ({ pair }) => `Basic ${Buffer.from(`${pair}??>>`).toString('base64url')}`,
  ),
  'with credentials that are no base64': authorization(() => 'Basic !!!!'),
  'with a single letter as credentials': authorization(() => 'Basic A'),
  'with five letters as credentials': authorization(() => 'Basic AAAAA'),
  'with padding alone as credentials': authorization(() => 'Basic =='),
  'with bits behind the end of the credentials': authorization(
    ({ pair }) =>
      `Basic ${base64(`${pair}${'x'.repeat((4 - (pair.length % 3)) % 3)}`).replace(/(.)(=+)$/, (_all, _last, end: string) => `/${end}`)}`,
  ),
  'with credentials without a colon': authorization(({ clientId }) => `Basic ${base64(clientId)}`),
  'with nothing before the colon': authorization(({ secret }) => `Basic ${base64(`:${secret ?? wrong}`)}`),
  'with nothing after the colon': authorization(({ clientId }) => `Basic ${base64(`${clientId}:`)}`),
  'with a colon alone': authorization(() => `Basic ${base64(':')}`),
  'with credentials that are not encoded': authorization(
    ({ clientId, secret }) => `Basic ${base64(`${clientId}:${secret ?? wrong}`)}`,
  ),
  'with credentials of which each letter is escaped': authorization(({ clientId, secret }) => {
    const escaped = (text: string) =>
      Array.from(Buffer.from(text), (byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
    return `Basic ${base64(`${escaped(clientId)}:${escaped(secret ?? wrong)}`)}`;
  }),
  'with a broken escape in the credentials': authorization(({ clientId }) => `Basic ${base64(`${clientId}:%zz`)}`),
  'with bytes that are no UTF-8 in the credentials': authorization(
    ({ clientId }) =>
      `Basic ${Buffer.concat([Buffer.from(`${clientId}:`), Buffer.from([0xff, 0xfe])]).toString('base64')}`,
  ),
  'with an escaped line break in the credentials': authorization(
    ({ clientId }) => `Basic ${base64(`${clientId}:a%0Ab`)}`,
  ),
  'with "Basic" alone': authorization(() => 'Basic'),
  'with its credentials in the header twice': (draft, own) => {
    authorization(({ pair }) => `Basic ${base64(pair)}`)(draft, own);
    draft.headers.authorization = [String(draft.headers.authorization), basic('nobody', wrong)];
  },
  'with an empty Authorization': authorization(() => ''),
  'with a space as Authorization': authorization(() => ' '),
  'with a Bearer token': authorization(() => 'Bearer abcdefghijkl'),
  'with its own access token as Bearer': authorization(({ accessToken }) => `Bearer ${accessToken ?? 'none'}`),
  'with a DPoP token': authorization(() => 'DPoP abcdefghijkl'),
  'with Negotiate': authorization(() => 'Negotiate TlRMTVNTUAAB'),
  'with an assertion': (draft, { clientId }) => {
    add(draft, 'client_assertion_type', jwtBearer);
    add(draft, 'client_assertion', assertionOf({ iss: clientId, sub: clientId, aud: 'http://localhost:3999' }));
  },
  'with an assertion alone': (draft, { clientId }) => {
    delete draft.headers.authorization;
    drop(draft, 'client_id');
    add(draft, 'client_assertion_type', jwtBearer);
    add(draft, 'client_assertion', assertionOf({ iss: clientId, sub: clientId, aud: 'http://localhost:3999' }));
  },
};
