// Where the issuer and the API are, from VITE_* at build time. The defaults are those of `npm run demo`.

export interface Settings {
  issuer: string;
  clientId: string;
  /** Where the orders API is reached. */
  ordersUrl: string;
  /** What the issuer calls it: the `resource` we ask for, and the `aud` of the access token (RFC 8707). */
  ordersAudience: string;
}

export function settingsFrom(env: Record<string, string | undefined>): Settings {
  return {
    issuer: env.VITE_ISSUER ?? 'http://localhost:3000',
    clientId: env.VITE_CLIENT_ID ?? 'orders-app',
    ordersUrl: env.VITE_ORDERS_URL ?? 'http://localhost:4000',
    ordersAudience: env.VITE_ORDERS_AUDIENCE ?? 'https://orders.example.com',
  };
}
