// Who asks, in both worlds: applications of every kind, APIs, people.

import { resourceOf } from '../../src/clients/apis.ts';
import { ordersApi, secret, stockApi } from '../support/signet.ts';

/** Of which nothing stays as it is when it is form-encoded (RFC 6749 §2.3.1). */
const oddSecret = '100 % + & = / ? # : "quoted" 0123456789';
export const namedApi = 'ledger';

export const origin = 'https://app.example.com';
export const callback = 'https://app.example.com/callback';

const people = { redirectUris: [callback], origins: [origin] };

interface Declared {
  clientId: string;
  name: string;
  type: string;
  secret?: string;
  access?: Record<string, string[]>;
  [setting: string]: unknown;
}

export const values: { applications: Declared[]; [section: string]: unknown } = {
  issuer: 'http://localhost:3999',
  proxy: { trusted: ['127.0.0.1', '::1'] },
  tokens: { refreshTokenLife: '10m', authorizationCodeLife: '2m' },
  applications: [
    {
      clientId: 'spa',
      name: 'Orders',
      type: 'spa',
      firstParty: true,
      ...people,
      access: { [ordersApi]: ['orders:read', 'orders:write'], [stockApi]: ['stock:read'] },
    },
    {
      clientId: 'web',
      name: 'Back office',
      type: 'web',
      secret,
      firstParty: true,
      ...people,
      access: { [ordersApi]: ['orders:read'] },
    },
    {
      clientId: 'web-two-apis',
      name: 'Warehouse',
      type: 'web',
      secret,
      firstParty: true,
      ...people,
      access: { [ordersApi]: ['orders:read'], [stockApi]: ['stock:read'], [namedApi]: ['ledger:read'] },
      defaultAudience: stockApi,
      accessTokenLife: '7m',
    },
    { clientId: 'web-no-pkce', name: 'Old portal', type: 'web', secret, firstParty: true, pkce: 'optional', ...people },
    {
      clientId: 'third-party',
      name: 'Reports',
      type: 'web',
      secret: oddSecret,
      ...people,
      access: { [ordersApi]: ['orders:read'] },
    },
    {
      clientId: 'spa-without-refresh',
      name: 'Kiosk',
      type: 'spa',
      refreshTokens: false,
      firstParty: true,
      ...people,
      access: { [stockApi]: ['stock:read'] },
    },
    {
      clientId: 'device',
      name: 'Desktop',
      type: 'native',
      firstParty: true,
      redirectUris: ['com.example.desktop:/callback', callback],
      access: { [ordersApi]: ['orders:read'] },
    },
    { clientId: 'disabled-web', name: 'Former', type: 'web', secret, ...people },
    {
      clientId: 'service',
      name: 'Nightly job',
      type: 'service',
      secret,
      access: { [ordersApi]: ['orders:read', 'orders:write'] },
    },
    {
      clientId: 'odd:service +/%',
      name: 'Odd job',
      type: 'service',
      secret: oddSecret,
      access: { [namedApi]: ['ledger:read'] },
    },
    {
      clientId: 'service-two-apis',
      name: 'Sync',
      type: 'service',
      secret,
      access: { [ordersApi]: ['orders:read'], [stockApi]: ['stock:read'] },
      accessTokenLife: '90s',
    },
    {
      clientId: 'service-default',
      name: 'Report job',
      type: 'service',
      secret,
      access: { [ordersApi]: ['orders:read'], [stockApi]: ['stock:read'] },
      defaultAudience: stockApi,
    },
    { clientId: 'service-without-api', name: 'Idle job', type: 'service', secret },
    { clientId: 'service-without-scope', name: 'Ping', type: 'service', secret, access: { [stockApi]: [] } },
    {
      clientId: 'disabled-service',
      name: 'Former job',
      type: 'service',
      secret,
      access: { [ordersApi]: ['orders:read'] },
    },
  ],
  apis: [
    {
      audience: ordersApi,
      name: 'Orders',
      scopes: { 'orders:read': 'See your orders', 'orders:write': 'Place orders' },
    },
    { audience: stockApi, name: 'Stock', scopes: { 'stock:read': 'See the stock' }, accessTokenLife: '5m' },
    { audience: namedApi, name: 'Ledger', scopes: { 'ledger:read': 'See the ledger' } },
  ],
};

/** How each authenticates; the rest have no secret. */
export const secrets: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    values.applications.flatMap(({ clientId, secret: own }) => (own === undefined ? [] : [[clientId, own]])),
  ),
  registered: secret,
};

export const password = 'a long enough password';

/** By how they are called. */
export const persons = {
  ada: {
    email: 'ada@example.com',
    roles: ['buyer'],
    emailVerified: true,
    name: 'Ada',
    givenName: 'Ada',
    familyName: 'L',
  },
  bob: { email: 'bob@example.com', roles: [], emailVerified: false, name: 'Bob' },
  cleo: { email: 'cleo@example.com', roles: ['buyer', 'seller', 'team:eu-west_1'], emailVerified: true, name: '' },
};

export type PersonName = keyof typeof persons;

/** Authorization requests, by what they ask for. */
export interface Ask {
  clientId: string;
  scope: string;
  resources?: readonly string[];
  /** Of these, the one that a token request has to name. */
  named?: string;
  parameters?: Record<string, string | undefined>;
}

const withoutPkce = { code_challenge: undefined, code_challenge_method: undefined };

export const asks: Readonly<Record<string, Ask>> = {
  'spa: one API': { clientId: 'spa', scope: 'openid email orders:read orders:write', resources: [ordersApi] },
  'spa: two APIs, all of the person': {
    clientId: 'spa',
    scope: 'openid profile email roles orders:read orders:write stock:read',
    resources: [ordersApi, stockApi],
    named: ordersApi,
  },
  'spa: without openid': { clientId: 'spa', scope: 'orders:read', resources: [ordersApi] },
  'spa: userinfo alone': { clientId: 'spa', scope: 'openid profile email roles' },
  'spa: scopes that it cannot have': {
    clientId: 'spa',
    scope: 'openid stock:read orders:write never:heard',
    resources: [ordersApi],
  },
  'spa: without a nonce, with max_age': {
    clientId: 'spa',
    scope: 'openid',
    resources: [stockApi],
    parameters: { nonce: undefined, max_age: '3600' },
  },
  'spa: no scope of its API': { clientId: 'spa', scope: 'openid email', resources: [ordersApi] },
  'web: its only API': { clientId: 'web', scope: 'openid email roles orders:read' },
  'web: offline': { clientId: 'web', scope: 'openid offline_access orders:read', parameters: { prompt: 'consent' } },
  'web: without openid': { clientId: 'web', scope: 'orders:read' },
  'web-two-apis: its default': { clientId: 'web-two-apis', scope: 'openid email stock:read' },
  'web-two-apis: three': {
    clientId: 'web-two-apis',
    scope: 'openid orders:read stock:read ledger:read',
    resources: [ordersApi, stockApi, resourceOf(namedApi)],
  },
  'web-two-apis: by name': { clientId: 'web-two-apis', scope: 'openid ledger:read', resources: [resourceOf(namedApi)] },
  'web-no-pkce: without PKCE': { clientId: 'web-no-pkce', scope: 'openid email', parameters: withoutPkce },
  'web-no-pkce: with PKCE': { clientId: 'web-no-pkce', scope: 'openid profile' },
  'third-party': { clientId: 'third-party', scope: 'openid email orders:read', resources: [ordersApi] },
  'third-party: the person alone': { clientId: 'third-party', scope: 'openid roles' },
  'spa-without-refresh': { clientId: 'spa-without-refresh', scope: 'openid stock:read' },
  device: {
    clientId: 'device',
    scope: 'openid email orders:read',
    parameters: { redirect_uri: 'com.example.desktop:/callback' },
  },
  registered: { clientId: 'registered', scope: 'openid email orders:read', resources: [ordersApi] },
};

export const services = values.applications.filter(({ type }) => type === 'service').map(({ clientId }) => clientId);
