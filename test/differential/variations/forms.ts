// How a token request is written: its method, its address, its headers, its body.

import { gzipSync } from 'node:zlib';
import type { Draft } from '../pair.ts';
import { add, form, type Variations } from '../requests.ts';
import { origin } from '../world.ts';

const type = (value: string | undefined) => (draft: Draft) => {
  if (value === undefined) delete draft.headers['content-type'];
  else draft.headers['content-type'] = value;
};
const header = (name: string, value: string | string[]) => (draft: Draft) => void (draft.headers[name] = value);
const written = (write: (form: string) => NonNullable<Draft['body']>) => (draft: Draft) =>
  void (draft.body = write(new URLSearchParams(draft.fields).toString()));

export const forms: Variations = {
  'by GET': (draft) => void (draft.method = 'GET'),
  'by GET, all in the address': (draft) => {
    draft.method = 'GET';
    draft.target = `/token?${new URLSearchParams(draft.fields)}`;
  },
  'by HEAD': (draft) => void (draft.method = 'HEAD'),
  'by PUT': (draft) => void (draft.method = 'PUT'),
  'by DELETE': (draft) => void (draft.method = 'DELETE'),
  'by OPTIONS': (draft) => void (draft.method = 'OPTIONS'),
  'as a CORS preflight': (draft) => {
    draft.method = 'OPTIONS';
    Object.assign(draft.headers, {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization, dpop',
    });
  },
  'all in the address': (draft) => {
    draft.target = `/token?${new URLSearchParams(draft.fields)}`;
    draft.body = '';
  },
  'with an empty query': (draft) => void (draft.target = '/token?'),
  'with a query beside the form': (draft) =>
    void (draft.target = '/token?grant_type=password&scope=openid&client_id=spa'),
  'with a null character in the address': (draft) => void (draft.target = '/token?a=%00'),
  'with a slash at the end': (draft) => void (draft.target = '/token/'),
  'with capitals in the address': (draft) => void (draft.target = '/Token'),
  'with an escaped letter in the address': (draft) => void (draft.target = '/%74oken'),
  'with two slashes': (draft) => void (draft.target = '//token'),

  'with charset=utf-8': type(`${form}; charset=utf-8`),
  'with charset=UTF-8 in quotes': type(`${form};charset="UTF-8"`),
  'with charset=iso-8859-1': type(`${form}; charset=iso-8859-1`),
  'with charset=utf-16le': type(`${form}; charset=utf-16le`),
  'with a charset that there is not': type(`${form}; charset=klingon`),
  'with an empty charset': type(`${form}; charset=`),
  'with another parameter of the type': type(`${form}; boundary=x`),
  'with the type in capitals': type('Application/X-WWW-Form-URLEncoded'),
  'with a space around the type': type(` ${form} `),
  'without a type': type(undefined),
  'with two types': header('content-type', [form, 'application/json']),
  'with an empty type': type(''),
  'with a type that is none': type('form'),
  'as JSON': (draft) => {
    draft.headers['content-type'] = 'application/json';
    draft.body = JSON.stringify(Object.fromEntries(draft.fields));
  },
  'as JSON that says that it is a form': (draft) =>
    void (draft.body = JSON.stringify(Object.fromEntries(draft.fields))),
  'as text': type('text/plain'),
  'as multipart/form-data': type('multipart/form-data; boundary=x'),

  'without a body': written(() => ''),
  'with a body of "&"': written(() => '&&&'),
  'with "&" before and after': written((text) => `&${text}&`),
  'with pairs between semicolons': written((text) => text.replaceAll('&', ';')),
  'with a name without a value': written((text) => `${text}&scope`),
  'with a value without a name': written((text) => `${text}&=value`),
  'with every character escaped': written((text) =>
    text.replace(/[\w.~-]/g, (letter) => `%${letter.charCodeAt(0).toString(16).padStart(2, '0')}`),
  ),
  'with escapes in small letters': written((text) => text.replace(/%[0-9A-F]{2}/g, (escape) => escape.toLowerCase())),
  'with "+" for a space in a name': written((text) => `${text}&grant+type=x`),
  'with a broken escape': written((text) => `${text}&scope=%zz`),
  'with a broken escape elsewhere': written((text) => `${text}&other=%`),
  'with an escaped null character': written((text) => `${text}&other=%00`),
  'with a null character in the name': written((text) => `${text}&a%00b=1`),
  'with a raw null character': written((text) => `${text}&other=\0`),
  'with bytes that are no UTF-8, escaped': written((text) => `${text}&state=%ff%fe`),
  'with bytes that are no UTF-8': written((text) =>
    Buffer.concat([Buffer.from(`${text}&state=`), Buffer.from([0xff, 0xfe])]),
  ),
  'with bytes that are no UTF-8 in the scope': written((text) => `${text}&scope=%ff`),
  'with a byte order mark': written((text) => `\uFEFF${text}`),
  'with a line break at the end': written((text) => `${text}\r\n`),
  'with letters beyond ASCII': written((text) => `${text}&übrig=ß`),
  'with a parameter __proto__': written((text) => `${text}&__proto__=x&constructor=y&toString=z`),
  'with a thousand parameters before': written((text) => `${'a=1&'.repeat(1000)}${text}`),
  'with a thousand parameters after': written((text) => `${text}${'&a=1'.repeat(1000)}`),
  'with 17 kB of something else': (draft) => add(draft, 'other', 'x'.repeat(17_000)),
  'with 40 kB of something else': (draft) => add(draft, 'other', 'x'.repeat(40_000)),
  'with 57,344 bytes': written((text) => `${text}&other=`.padEnd(57_344, 'x')),
  'with 57,345 bytes': written((text) => `${text}&other=`.padEnd(57_345, 'x')),
  'with 60 kB': written((text) => `${text}&other=`.padEnd(60_000, 'x')),
  'in pieces': written((text) => [text.slice(0, 7), text.slice(7)]),
  'in pieces of a known length': (draft) => {
    const text = new URLSearchParams(draft.fields).toString();
    draft.headers['content-length'] = String(text.length);
    draft.body = [text.slice(0, 7), text.slice(7, 40), text.slice(40)];
  },
  'in pieces of 60 kB': written((text) => [text, `&other=${'x'.repeat(30_000)}`, 'x'.repeat(30_000)]),
  'in no pieces': written(() => []),
  packed: (draft) => {
    draft.headers['content-encoding'] = 'gzip';
    draft.body = gzipSync(new URLSearchParams(draft.fields).toString());
  },
  'said to be packed': header('content-encoding', 'gzip'),
  'said not to be packed': header('content-encoding', 'identity'),

  'from an allowed origin': header('origin', origin),
  'from an allowed origin, spelt otherwise': header('origin', 'https://APP.example.com:443'),
  'from another origin': header('origin', 'https://evil.example.com'),
  'from another origin, and for HTML': (draft) =>
    void Object.assign(draft.headers, { origin: 'https://evil.example.com', accept: 'text/html' }),
  'from the origin null': header('origin', 'null'),
  'from an empty origin': header('origin', ''),
  'for HTML': header('accept', 'text/html'),
  'for JSON': header('accept', 'application/json'),
  'for HTML rather than JSON': header('accept', 'text/html, application/json;q=0.9'),
  'as Java asks': header('accept', 'text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2'),
  'for an image': header('accept', 'image/png'),
  'with cookies': header('cookie', '__Host-session=x; session=y; session.sig=z'),
  'with a Host of its own': header('host', 'evil.example.com'),
  'with X-Forwarded-Proto': header('x-forwarded-proto', 'https'),
  'with X-Forwarded-Host': header('x-forwarded-host', 'evil.example.com'),
  'with X-Request-Id': header('x-request-id', 'chosen by the client'),
  'with X-HTTP-Method-Override': header('x-http-method-override', 'GET'),
  'with Sec-Fetch-Site: cross-site': header('sec-fetch-site', 'cross-site'),
  'from another network': header('x-forwarded-for', '198.51.100.7'),
  'from an IPv6 address': header('x-forwarded-for', '2001:db8::7'),
  'from what is no address': header('x-forwarded-for', 'unknown'),
  'with a DPoP header': header('dpop', 'eyJ0eXAiOiJkcG9wK2p3dCJ9.e30.AAAA'),
  'with an empty DPoP header': header('dpop', ''),
  'with a client attestation': header('oauth-client-attestation', 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzcGEifQ.AAAA'),
  'with a client attestation that is none': header('oauth-client-attestation', 'x'),
  'with an attestation and its proof': (draft) =>
    void Object.assign(draft.headers, {
      'oauth-client-attestation': 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzcGEifQ.AAAA',
      'oauth-client-attestation-pop': 'x',
    }),
  'with the proof of an attestation': header('oauth-client-attestation-pop', 'x'),
  'with a client certificate in a header': header('x-ssl-client-cert', 'MIIB'),
};
