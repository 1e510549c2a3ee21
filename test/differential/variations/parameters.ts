// What a token request asks for: grant_type, scope, resource (RFC 8707), and parameters that are somebody else's.

import { resourceOf } from '../../../src/clients/apis.ts';
import { ordersApi, stockApi } from '../../support/signet.ts';
import type { Draft } from '../pair.ts';
import { add, drop, set, type Variations, valueOf } from '../requests.ts';
import { namedApi } from '../world.ts';

const grantType = (value: string) => (draft: Draft) => set(draft, 'grant_type', value);
const scope = (value: string) => (draft: Draft) => set(draft, 'scope', value);
const resource =
  (...values: string[]) =>
  (draft: Draft) => {
    drop(draft, 'resource');
    for (const value of values) add(draft, 'resource', value);
  };
const audience = (value: string) => (draft: Draft) => set(draft, 'audience', value);
const other = (name: string, value: string) => (draft: Draft) => add(draft, name, value);

export const parameters: Variations = {
  'without grant_type': (draft) => drop(draft, 'grant_type'),
  'with an empty grant_type': grantType(''),
  'with grant_type twice': (draft) => add(draft, 'grant_type', valueOf(draft, 'grant_type') ?? 'refresh_token'),
  'with another grant_type beside': other('grant_type', 'client_credentials'),
  'with grant_type in capitals': (draft) =>
    set(draft, 'grant_type', (valueOf(draft, 'grant_type') ?? '').toUpperCase()),
  'with a space after grant_type': (draft) => set(draft, 'grant_type', `${valueOf(draft, 'grant_type')} `),
  'with grant_type=password': grantType('password'),
  'with grant_type=implicit': grantType('implicit'),
  'with grant_type=refresh_token': grantType('refresh_token'),
  'with grant_type=authorization_code': grantType('authorization_code'),
  'with grant_type=client_credentials': grantType('client_credentials'),
  'with grant_type=__proto__': grantType('__proto__'),
  'with grant_type=toString': grantType('toString'),
  'with the grant_type of a device code': grantType('urn:ietf:params:oauth:grant-type:device_code'),
  'with the grant_type of a token exchange': grantType('urn:ietf:params:oauth:grant-type:token-exchange'),
  'with the grant_type of an assertion': grantType('urn:ietf:params:oauth:grant-type:jwt-bearer'),
  'with the grant_type of CIBA': grantType('urn:openid:params:grant-type:ciba'),
  'with grant_type as a URI': grantType('https://example.com/grant'),

  'with an empty scope': scope(''),
  'with scope=openid': scope('openid'),
  'with scope=openid email': scope('openid email'),
  'with scope=email': scope('email'),
  'with scope=offline_access': scope('offline_access'),
  'with scope=openid offline_access': scope('openid offline_access'),
  'with scope=roles profile': scope('roles profile'),
  'with scope=orders:read': scope('orders:read'),
  'with scope=orders:write': scope('orders:write'),
  'with scope=orders:write orders:read': scope('orders:write orders:read'),
  'with scope=openid orders:read email': scope('openid orders:read email'),
  'with scope=stock:read': scope('stock:read'),
  'with scope=openid stock:read': scope('openid stock:read'),
  'with scope=ledger:read': scope('ledger:read'),
  'with scope=never:heard': scope('never:heard'),
  'with scope=orders:read never:heard': scope('orders:read never:heard'),
  'with scope=openid never:heard': scope('openid never:heard'),
  'with the scope of the administration': scope('admin:write'),
  'with a scope twice': scope('orders:read orders:read'),
  'with openid twice in the scope': scope('openid openid'),
  'with two spaces in the scope': scope('openid  email'),
  'with a space before the scope': scope(' openid'),
  'with a space after the scope': scope('openid '),
  'with a space as scope': scope(' '),
  'with a tab in the scope': scope('openid\temail'),
  'with quotes in the scope': scope('"openid"'),
  'with a backslash in the scope': scope('open\\id'),
  'with a scope beyond ASCII': scope('öffnen'),
  'with a comma in the scope': scope('openid,email'),
  'with the scope in capitals': scope('OPENID'),
  'with a scope of 5,000 letters': scope(`openid ${'x'.repeat(5_000)}`),
  'with a thousand scopes': scope(`openid ${Array.from({ length: 1000 }, (_, at) => `scope${at}`).join(' ')}`),
  'with scope=__proto__': scope('__proto__'),
  'with scope twice': (draft) => {
    set(draft, 'scope', 'openid');
    add(draft, 'scope', 'email');
  },
  'with the same scope parameter twice': (draft) => {
    set(draft, 'scope', 'openid');
    add(draft, 'scope', 'openid');
  },

  'for orders': resource(ordersApi),
  'for stock': resource(stockApi),
  'for the ledger': resource(resourceOf(namedApi)),
  'for the ledger by its name': resource(namedApi),
  'for orders and the scopes of the person': (draft) => {
    set(draft, 'resource', ordersApi);
    set(draft, 'scope', 'openid email orders:read');
  },
  'for orders and a scope of stock': (draft) => {
    set(draft, 'resource', ordersApi);
    set(draft, 'scope', 'stock:read');
  },
  'for orders and scope=openid': (draft) => {
    set(draft, 'resource', ordersApi);
    set(draft, 'scope', 'openid');
  },
  'for stock and scope=stock:read': (draft) => {
    set(draft, 'resource', stockApi);
    set(draft, 'scope', 'stock:read');
  },
  'for orders twice': resource(ordersApi, ordersApi),
  'for orders and stock': resource(ordersApi, stockApi),
  'for stock and orders': resource(stockApi, ordersApi),
  'for orders and nothing': resource(ordersApi, ''),
  'for an empty resource': resource(''),
  'for two empty resources': resource('', ''),
  'for an API that there is not': resource('https://nothing.example.com'),
  'for the administration': resource('http://localhost:3999/admin'),
  'for the issuer': resource('http://localhost:3999'),
  'for a relative resource': resource('/orders'),
  'for a resource that is no URI': resource('not a uri'),
  'for orders with a fragment': resource(`${ordersApi}#part`),
  'for orders with an empty fragment': resource(`${ordersApi}#`),
  'for orders with a slash': resource(`${ordersApi}/`),
  'for orders in capitals': resource(ordersApi.toUpperCase()),
  'for orders with a query': resource(`${ordersApi}?x=1`),
  'for orders with a port': resource(`${ordersApi}:443`),
  'for orders with a space': resource(` ${ordersApi}`),
  'for orders by the name of a name': resource(`urn:signet:audience:${encodeURIComponent(ordersApi)}`),
  'for a broken name': resource('urn:signet:audience:%zz'),
  'for __proto__': resource('urn:signet:audience:__proto__'),
  'for a resource of 3,000 letters': resource(`${ordersApi}/${'x'.repeat(3_000)}`),

  'with audience=orders': audience(ordersApi),
  'with audience=stock': audience(stockApi),
  'with audience=ledger': audience(namedApi),
  'with an empty audience': audience(''),
  'with an audience that there is not': audience('nothing'),
  'with audience twice': (draft) => {
    set(draft, 'audience', ordersApi);
    add(draft, 'audience', ordersApi);
  },
  'with audience and resource alike': (draft) => {
    set(draft, 'audience', ordersApi);
    set(draft, 'resource', ordersApi);
  },
  'with audience and resource the ledger by its name': (draft) => {
    set(draft, 'audience', namedApi);
    set(draft, 'resource', namedApi);
  },
  'with audience and resource apart': (draft) => {
    set(draft, 'audience', ordersApi);
    set(draft, 'resource', stockApi);
  },
  'with audience among two resources': (draft) => {
    resource(ordersApi, stockApi)(draft);
    set(draft, 'audience', stockApi);
  },

  'with a parameter that nobody knows': other('colour', 'blue'),
  'with a state': other('state', 'abc'),
  'with a nonce': other('nonce', 'chosen later'),
  'with a response_type': other('response_type', 'code'),
  'with prompt=none': other('prompt', 'none'),
  'with claims': other('claims', '{"id_token":{"email":{"essential":true}}}'),
  'with max_age': other('max_age', '0'),
  'with username and password': (draft) => {
    add(draft, 'username', 'ada@example.com');
    add(draft, 'password', 'a guess of somebody');
  },
  'with authorization_details': other('authorization_details', '[{"type":"payment"}]'),
  'with authorization_details that are no JSON': other('authorization_details', '{'),
  'with dpop_jkt': other('dpop_jkt', 'a'.repeat(43)),
  'with a request object': other('request', 'eyJhbGciOiJub25lIn0.e30.'),
  'with an unknown parameter twice': (draft) => {
    add(draft, 'colour', 'blue');
    add(draft, 'colour', 'red');
  },
};
