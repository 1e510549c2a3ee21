// Microsoft's clouds. Login host, issuer and Graph host belong together: a token of one cloud says nothing in another,
// and must not be shown to another. The table is here, since a custom cloud may have no host of it.

export interface CloudHosts {
  /** With {tenantid} where each tenant has a host of its own. */
  login: string;
  /** "iss" of ID tokens, with {tenantid} where the tenant's GUID stands. */
  issuer: string;
  graph: string;
  /** What else than `issuer` may stand in the JWKS as the issuer of a key, of the same tenant. */
  keyIssuer?: string;
}

export type Cloud = 'public' | 'external-id' | 'usgov' | 'usgov-dod' | 'china';

// https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud, …/graph/deployments
export const clouds: Readonly<Record<Cloud, CloudHosts>> = {
  public: microsofts('login.microsoftonline.com', 'graph.microsoft.com'),
  // Microsoft Entra External ID: tenants for customers, each at a host of its own. Their keys are those of the tenant in
  // the public cloud, and more. (https://learn.microsoft.com/entra/external-id/customers/)
  'external-id': {
    login: '{tenantid}.ciamlogin.com',
    issuer: 'https://{tenantid}.ciamlogin.com/{tenantid}/v2.0',
    graph: 'graph.microsoft.com',
    keyIssuer: 'https://login.microsoftonline.com/{tenantid}/v2.0',
  },
  usgov: microsofts('login.microsoftonline.us', 'graph.microsoft.us'),
  'usgov-dod': microsofts('login.microsoftonline.us', 'dod-graph.microsoft.us'),
  china: microsofts('login.partner.microsoftonline.cn', 'microsoftgraph.chinacloudapi.cn'),
};

function microsofts(login: string, graph: string): CloudHosts {
  return { login, issuer: `https://${login}/{tenantid}/v2.0`, graph };
}

/** The cloud of the table that has this host. */
export function cloudWith(host: string): string | undefined {
  if (host.endsWith('.ciamlogin.com')) return 'external-id';
  return Object.entries(clouds).find(([, { login, graph }]) => login === host || graph === host)?.[0];
}
