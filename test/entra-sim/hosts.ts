// The host names that the simulator answers for. The product keeps its production configuration; only the socket is
// led here (connector.ts for undici, chromiumArgs() for a browser).

/** `sovereign`: one that a product has no table of, and is told the hosts of. */
export type Cloud = 'public' | 'usgov' | 'usgov-dod' | 'china' | 'sovereign';

export interface CloudHosts {
  login: string;
  graph: string;
  instance: string;
}

export const clouds: Readonly<Record<Cloud, CloudHosts>> = {
  public: { login: 'login.microsoftonline.com', graph: 'graph.microsoft.com', instance: 'microsoftonline.com' },
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

export const loginHosts: readonly string[] = unique([...Object.values(clouds).map((cloud) => cloud.login), ...aliases]);
export const graphHosts: readonly string[] = unique(Object.values(clouds).map((cloud) => cloud.graph));
export const simulatedHosts: readonly string[] = [...loginHosts, ...graphHosts, retiredGraphHost, attackerHost];

/** `Host` header → name without port. */
export const hostName = (authority: string): string => authority.replace(/:\d+$/, '').toLowerCase();

export const isLocal = (name: string): boolean => name === 'localhost' || name === '127.0.0.1';
