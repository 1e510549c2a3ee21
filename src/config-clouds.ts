// Microsoft's clouds. Login host, issuer and Graph host belong together: a token of one cloud says nothing in another,
// and must not be shown to another. The table is here, since a custom cloud may have no host of it.

export interface CloudHosts {
  login: string;
  /** "iss" of ID tokens, with {tenantid} where the tenant's GUID stands. */
  issuer: string;
  graph: string;
}

export type Cloud = 'public' | 'usgov' | 'usgov-dod' | 'china';

// https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud, …/graph/deployments
export const clouds: Readonly<Record<Cloud, CloudHosts>> = {
  public: microsofts('login.microsoftonline.com', 'graph.microsoft.com'),
  usgov: microsofts('login.microsoftonline.us', 'graph.microsoft.us'),
  'usgov-dod': microsofts('login.microsoftonline.us', 'dod-graph.microsoft.us'),
  china: microsofts('login.partner.microsoftonline.cn', 'microsoftgraph.chinacloudapi.cn'),
};

function microsofts(login: string, graph: string): CloudHosts {
  return { login, issuer: `https://${login}/{tenantid}/v2.0`, graph };
}

/** The cloud of the table that has this host. */
export function cloudWith(host: string): string | undefined {
  return Object.entries(clouds).find(([, { login, graph }]) => login === host || graph === host)?.[0];
}
