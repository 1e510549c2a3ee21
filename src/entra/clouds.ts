// Microsoft's clouds, public, national and custom: which hosts are Microsoft's, and what is where on them.

import { type CloudHosts, clouds } from '../config/clouds.ts';
import type { EntraConfig } from '../config/config.ts';

export interface EntraCloud extends CloudHosts {
  /** Part of who somebody is: the name in the table, or of a custom cloud the origin that its tokens have as issuer. */
  name: string;
}

export function cloudOf({
  cloud = 'public',
  customCloud,
  tenant,
}: Pick<EntraConfig, 'cloud' | 'customCloud' | 'tenant'>): EntraCloud {
  if (!customCloud) return { name: cloud, ...clouds[cloud], login: clouds[cloud].login.replace('{tenantid}', tenant) };
  const { login, issuer, graph } = customCloud;
  return { name: new URL(issuer).origin, login: new URL(login).host, issuer, graph: new URL(graph).host };
}

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
export function authorityOf(cloud: EntraCloud, tenant: string): Authority {
  const base = `https://${cloud.login}/${tenant}`;
  return {
    url: base,
    issuer: tenantIssuer(cloud, tenant),
    authorizationEndpoint: `${base}/oauth2/v2.0/authorize`,
    tokenEndpoint: `${base}/oauth2/v2.0/token`,
    endSessionEndpoint: `${base}/oauth2/v2.0/logout`,
    jwksUri: `${base}/discovery/v2.0/keys`,
  };
}

/** What "iss" is in the tokens of one tenant, to the letter. */
export function tenantIssuer({ issuer }: Pick<EntraCloud, 'issuer'>, tid: string): string {
  return issuer.replaceAll('{tenantid}', tid);
}
