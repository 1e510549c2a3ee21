// Metadata: the OpenID configuration of a tenant, its signing keys, and MSAL's instance discovery.

import { Aadsts } from './aadsts.ts';
import type { Exchange, Reply } from './exchange.ts';
import { json } from './exchange.ts';
import type { Cloud, CloudHosts } from './hosts.ts';
import { clouds } from './hosts.ts';
import type { Rule } from './rules.ts';
import type { Simulation } from './simulation.ts';
import { consumersTenantId } from './tenants.ts';

/** Bends the OpenID configuration. Applies always until withdrawn, since clients fetch it once. */
export interface DiscoveryDoctoring extends Rule {
  /** For example { issuer: 'https://login.example/…' }; a function is given the honest document. */
  set?: Record<string, unknown> | ((document: Record<string, unknown>) => Record<string, unknown>);
  drop?: readonly string[];
}

const aliasTenants = ['common', 'organizations'];

/** The tenant as it stands in the issuer: "{tenantid}" at the aliases, which serve many. */
function issuerTenant(sim: Simulation, { authority, loginHost }: Exchange): string {
  if (aliasTenants.includes(authority.toLowerCase())) return '{tenantid}';
  if (authority.toLowerCase() === 'consumers') return consumersTenantId;
  const tenant = sim.directory.find(authority, loginHost);
  if (tenant === undefined) throw new Aadsts(90002);
  return tenant.id;
}

export function openidConfiguration(sim: Simulation, exchange: Exchange): Reply {
  const { origin, authority } = exchange;
  const tenant = issuerTenant(sim, exchange);
  // Entra names concrete tenants by GUID in every URL, also where a domain was asked for.
  const inUrls = tenant === '{tenantid}' || authority.toLowerCase() === 'consumers' ? authority.toLowerCase() : tenant;
  const base = `${origin}/${inUrls}`;
  // Two clouds share one login host, so a tenant's own cloud decides where there is a tenant.
  const own = sim.directory.find(authority, exchange.loginHost)?.cloud;
  const cloud = own === undefined ? cloudAt(exchange.loginHost) : clouds[own];
  const document: Record<string, unknown> = {
    token_endpoint: `${base}/oauth2/v2.0/token`,
    token_endpoint_auth_methods_supported: [
      'client_secret_post',
      'private_key_jwt',
      'client_secret_basic',
      'self_signed_tls_client_auth',
    ],
    jwks_uri: `${base}/discovery/v2.0/keys`,
    response_modes_supported: ['query', 'fragment', 'form_post'],
    subject_types_supported: ['pairwise'],
    id_token_signing_alg_values_supported: ['RS256'],
    response_types_supported: ['code', 'id_token', 'code id_token', 'id_token token'],
    scopes_supported: ['openid', 'profile', 'email', 'offline_access'],
    issuer: `${origin}/${tenant}/v2.0`,
    request_uri_parameter_supported: false,
    userinfo_endpoint: `https://${cloud.graph}/oidc/userinfo`,
    authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
    device_authorization_endpoint: `${base}/oauth2/v2.0/devicecode`,
    http_logout_supported: true,
    frontchannel_logout_supported: true,
    end_session_endpoint: `${base}/oauth2/v2.0/logout`,
    claims_supported: [
      'sub',
      'iss',
      'cloud_instance_name',
      'cloud_instance_host_name',
      'cloud_graph_host_name',
      'msgraph_host',
      'aud',
      'exp',
      'iat',
      'auth_time',
      'acr',
      'nonce',
      'preferred_username',
      'name',
      'tid',
      'ver',
      'at_hash',
      'c_hash',
      'email',
    ],
    kerberos_endpoint: `${base}/kerberos`,
    tenant_region_scope: tenant === '{tenantid}' ? null : 'EU',
    cloud_instance_name: cloud.instance,
    cloud_graph_host_name: 'graph.windows.net',
    msgraph_host: cloud.graph,
    rbac_url: 'https://pas.windows.net',
  };
  const doctoring = sim.discoveries.take({ tenant: authority, host: exchange.host });
  const set = typeof doctoring?.set === 'function' ? doctoring.set(document) : doctoring?.set;
  const sent = Object.entries({ ...document, ...set }).filter(([name]) => !doctoring?.drop?.includes(name));
  return json(Object.fromEntries(sent), 200, { 'Cache-Control': 'max-age=86400, private' });
}

const cloudAt = (loginHost: string): CloudHosts =>
  Object.values(clouds).find(({ login }) => login === loginHost) ?? clouds.public;

export function signingKeys(sim: Simulation, exchange: Exchange): Reply {
  const tenant = issuerTenant(sim, exchange);
  const asked = tenant === '{tenantid}' ? exchange.authority.toLowerCase() : tenant;
  const host = exchange.origin.replace('https://', '');
  return json(sim.keys.jwks(host, asked), 200, { 'Cache-Control': sim.keys.currentCacheControl });
}

export function instanceDiscovery({ origin, query }: Exchange): Reply {
  const asked = URL.parse(query.get('authorization_endpoint') ?? '');
  if (asked === null) throw new Aadsts(90014, { error: 'invalid_request' });
  const tenant = asked.pathname.split('/')[1] ?? 'common';
  const metadata = (['public', 'china', 'usgov'] satisfies Cloud[]).map((cloud) => {
    const { login } = clouds[cloud];
    const others = cloud === 'public' ? ['login.windows.net', 'login.microsoft.com', 'sts.windows.net'] : [];
    const aliases = [login, ...others];
    return { preferred_network: login, preferred_cache: aliases[1] ?? login, aliases };
  });
  return json({
    tenant_discovery_endpoint: `${origin}/${tenant}/v2.0/.well-known/openid-configuration`,
    'api-version': '1.1',
    metadata,
  });
}
