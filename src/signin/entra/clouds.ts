// Microsoft's clouds. Login host, issuer and Graph host belong together: a token of one cloud says nothing in another.

import type { Cloud } from './identity.ts';

export interface CloudHosts {
  login: string;
  graph: string;
}

// https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud, …/graph/deployments
export const clouds: Readonly<Record<Cloud, CloudHosts>> = {
  public: { login: 'login.microsoftonline.com', graph: 'graph.microsoft.com' },
  usgov: { login: 'login.microsoftonline.us', graph: 'graph.microsoft.us' },
  'usgov-dod': { login: 'login.microsoftonline.us', graph: 'dod-graph.microsoft.us' },
  china: { login: 'login.partner.microsoftonline.cn', graph: 'microsoftgraph.chinacloudapi.cn' },
};

/** Home of all personal Microsoft accounts. Graph knows no groups there. */
export const consumersTenant = '9188040d-6c67-4c5b-b112-36a304b66dad';

export interface Authority {
  url: string;
  issuer: string;
  authorizationEndpoint: string;
  tokenEndpoint: string;
  endSessionEndpoint: string;
  jwksUri: string;
}

/** @param tenant a GUID, organizations, common or consumers */
export function authorityOf(cloud: Cloud, tenant: string): Authority {
  const base = `https://${clouds[cloud].login}/${tenant}`;
  return {
    url: base,
    issuer: issuerOf(cloud, tenant),
    authorizationEndpoint: `${base}/oauth2/v2.0/authorize`,
    tokenEndpoint: `${base}/oauth2/v2.0/token`,
    endSessionEndpoint: `${base}/oauth2/v2.0/logout`,
    jwksUri: `${base}/discovery/v2.0/keys`,
  };
}

/** What "iss" is in the tokens of one tenant, to the letter. */
export function issuerOf(cloud: Cloud, tid: string): string {
  return `https://${clouds[cloud].login}/${tid}/v2.0`;
}
