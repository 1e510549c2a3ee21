// The host names that the simulator answers for. The product keeps its production configuration; only the socket is
// led here (connector.ts for undici, chromiumArgs() for a browser).

/** `sovereign`: one that a product has no table of, and is told the hosts of. */
export type Cloud = 'public' | 'external' | 'usgov' | 'usgov-dod' | 'china' | 'sovereign';

export interface CloudHosts {
  login: string;
  graph: string;
  instance: string;
}

export const clouds: Readonly<Record<Cloud, CloudHosts>> = {
  public: { login: 'login.microsoftonline.com', graph: 'graph.microsoft.com', instance: 'microsoftonline.com' },
  // Entra External ID: each tenant has a host of its own.
  external: { login: '{tenantid}.ciamlogin.com', graph: 'graph.microsoft.com', instance: 'ciamlogin.com' },
  usgov: { login: 'login.microsoftonline.us', graph: 'graph.microsoft.us', instance: 'microsoftonline.us' },
  'usgov-dod': { login: 'login.microsoftonline.us', graph: 'dod-graph.microsoft.us', instance: 'microsoftonline.us' },
  china: {
    login: 'login.partner.microsoftonline.cn',
    graph: 'microsoftgraph.chinacloudapi.cn',
    instance: 'partner.microsoftonline.cn',
  },
  sovereign: { login: 'login.sovereign.example', graph: 'graph.sovereign.example', instance: 'sovereign.example' },
};

/** Other names of the same clouds. MSAL knows them; a product that was configured well never dials one. */
const aliases = ['login.windows.net', 'login.microsoft.com', 'sts.windows.net', 'login.chinacloudapi.cn'];

/** Where Entra's overage claim points: shut down in 2025, so every request that arrives there is a mistake. */
export const retiredGraphHost = 'graph.windows.net';

/** A host of nobody we trust: redirects and next links lead here, and the request log shows what was handed over. */
export const attackerHost = 'attacker.example';

const unique = (names: string[]): string[] => [...new Set(names)];

/** Where each name below is one of the simulator's: tenants of External ID. */
export const tenantHosts = '*.ciamlogin.com';
const isTenantHost = (name: string): boolean => /^[\da-f-]{36}\.ciamlogin\.com$/.test(name);

const loginHosts: readonly string[] = unique([...Object.values(clouds).map((cloud) => cloud.login), ...aliases]).filter(
  (name) => !name.startsWith('{'),
);
export const isLoginHost = (name: string): boolean => loginHosts.includes(name) || isTenantHost(name);
export const graphHosts: readonly string[] = unique(Object.values(clouds).map((cloud) => cloud.graph));
export const simulatedHosts: readonly string[] = [...loginHosts, ...graphHosts, retiredGraphHost, attackerHost];

export const isSimulated = (name: string): boolean => simulatedHosts.includes(name) || isTenantHost(name);

/** The login host whose directory answers: aliases and localhost stand for the public cloud. */
export function loginHostOf(host: string): string {
  if (isTenantHost(host)) return host;
  const own = Object.values(clouds).find(({ login, graph }) => login === host || graph === host);
  return own?.login ?? clouds.public.login;
}

/** `Host` header → name without port. */
export const hostName = (authority: string): string => authority.replace(/:\d+$/, '').toLowerCase();

export const isLocal = (name: string): boolean => name === 'localhost' || name === '127.0.0.1';
