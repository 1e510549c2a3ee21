// What one configured value may look like: a rule returns a sentence saying what is wrong and what to do, or undefined.
// A rule never repeats a value that may hold a secret. Which setting obeys which rule: schema.ts.

import { isIP } from 'node:net';
import { parsePostgresUrl } from './postgres.ts';

export type Rule = (value: string) => string | undefined;

/** Whether only this machine can answer at `hostname` (as `URL` spells it): RFC 6761 §6.3, RFC 8252 §7.3. */
export function isLoopbackHost(hostname: string): boolean {
  if (hostname === 'localhost' || hostname.endsWith('.localhost')) return true;
  if (hostname === '[::1]' || hostname === '::1') return true;
  return isIP(hostname) === 4 && hostname.startsWith('127.');
}

export const issuerRule: Rule = (value) => {
  const url = parse(value);
  if (!url || !isWeb(url)) return 'must be the public URL of this server, such as https://id.example.com';
  if (url.username || url.password) return 'must not carry a user name or password';
  if (url.search || url.hash || /[?#]/.test(value)) return 'must not have a query or a fragment';
  if (url.pathname !== '/') {
    return 'must not have a path; give the issuer a host name of its own, such as https://id.example.com';
  }
  // Verifiers compare "iss" character by character (OpenID Connect Discovery §4.3), so there is one spelling.
  if (value !== url.origin) return `must be written as ${url.origin}`;
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname)) {
    return (
      `must be https: over http anybody on the way to ${url.hostname} can read passwords and replace the ` +
      `signing keys; write https://${url.host} and end TLS in front of this server (http is for localhost only)`
    );
  }
  return undefined;
};

export const databaseUrlRule: Rule = (value) => {
  if (/^postgres(ql)?:/.test(value)) {
    const address = parsePostgresUrl(value);
    return typeof address === 'string' ? address : undefined;
  }
  if (/^sqlite:(\/\/\/|(?!\/\/)).+/s.test(value)) return undefined;
  return 'must be sqlite:<file>, such as sqlite:data/signet.db, or postgres://user@host/database';
};

export const redisUrlRule: Rule = (value) => {
  const url = /^rediss?:\/\/./.test(value) ? parse(value) : undefined;
  // A user name alone signs nobody in, and is shown: what stands there is a password, as a rule.
  if (url?.username && !url.password)
    return (
      'has a user name and no password; a password alone stands behind a colon, ' + 'as in redis://:password@host:6379'
    );
  if (url) return undefined;
  return 'must be redis://host:6379, with user and password where it has them, or rediss:// for TLS';
};

export const networkRule: Rule = (value) => {
  const [address = '', prefix, ...rest] = value.split('/');
  const family = isIP(address);
  if (!family || rest.length > 0) return 'must be an IP address or a network, such as 10.0.0.0/8';
  if (prefix === undefined) return undefined;
  const bits = family === 4 ? 32 : 128;
  if (!/^\d{1,3}$/.test(prefix) || Number(prefix) > bits) return `must have a prefix of 1 to ${bits} after the slash`;
  if (Number(prefix) === 0) return 'would believe everybody; name the network of the proxy';
  return undefined;
};

const guid = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';

export const guidPattern = new RegExp(`^${guid}$`, 'i');

const howToFindTenant = 'az account show --query tenantId, or Microsoft Entra admin center → Overview → Tenant ID';

export const entraTenantRule: Rule = (value) => {
  if (guidPattern.test(value) || ['organizations', 'common', 'consumers'].includes(value)) return undefined;
  // A domain can be given up and taken by somebody else, and to learn whose it is needs the network at start.
  if (/^[a-z0-9-]+(\.[a-z0-9-]+)+$/i.test(value)) {
    return `must be the tenant's GUID, not a domain name: ${howToFindTenant}`;
  }
  return `must be a tenant's GUID (${howToFindTenant}), organizations, common or consumers`;
};

export const httpsOriginRule: Rule = (value) => {
  const url = parse(value);
  const isOrigin = url?.protocol === 'https:' && value === url.origin;
  return isOrigin ? undefined : 'must be https:// and a host, with nothing after it, such as https://login.example.com';
};

export const entraIssuerRule: Rule = (value) => {
  const example = 'https://login.example.com/{tenantid}/v2.0';
  const segments = value.split('/');
  const url = parse(value.replace('{tenantid}', 'tenant'));
  // Compared to the letter, so it has to be written as tokens have it.
  const isPlain =
    url?.protocol === 'https:' &&
    url.href === value.replace('{tenantid}', 'tenant') &&
    url.search === '' &&
    url.hash === '' &&
    url.username === '' &&
    url.password === '';
  if (isPlain && segments.indexOf('{tenantid}') > 2 && value.split('{tenantid}').length === 2) return undefined;
  return `must be an https URL with {tenantid} once in its path, such as ${example}`;
};

export const domainRule: Rule = (value) =>
  /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$/.test(value)
    ? undefined
    : 'must be a domain in lower case and without @, such as example.com (IDNA: in its xn-- form)';

export const proxyUrlRule: Rule = (value) => {
  const url = parse(value);
  if (!url || !isWeb(url)) return 'must be the URL of an HTTP proxy, such as http://proxy.example.com:8080';
  if (url.pathname !== '/' || url.search || url.hash) return 'must not have a path, a query or a fragment';
  return undefined;
};

export const dateRule: Rule = (value) => {
  const isDate = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2}))?$/.test(value);
  return isDate && !Number.isNaN(Date.parse(value)) ? undefined : 'must be a date such as 2027-01-31';
};

export const masterKeyRule: Rule = (value) =>
  decodeMasterKey(value) ? undefined : 'must be 32 random bytes in base64, base64url or hex: openssl rand -base64 32';

/** The 32 bytes behind a configured master key, or undefined where the text does not hold exactly that many. */
export function decodeMasterKey(text: string): Buffer | undefined {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  // Node reads both alphabets under either name.
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(text)) return Buffer.from(text, 'base64');
  return undefined;
}

const unitSeconds: Record<string, number> = { '': 1, s: 1, m: 60, h: 3600, d: 86_400 };

export const durationPattern = /^(\d{1,9})([smhd]?)$/;

/** Seconds in a text that fits `durationPattern`. */
export function toSeconds(text: string): number {
  const [, count, unit] = durationPattern.exec(text) ?? [];
  return Number(count) * (unitSeconds[unit ?? ''] ?? Number.NaN);
}

/** The shortest exact way to write `seconds`: 5400 → 90m. */
export function formatDuration(seconds: number): string {
  const unit = ['d', 'h', 'm'].find((name) => seconds > 0 && seconds % (unitSeconds[name] ?? 1) === 0) ?? 's';
  return `${seconds / (unitSeconds[unit] ?? 1)}${unit}`;
}

export function parse(value: string): URL | undefined {
  return URL.parse(value) ?? undefined;
}

export function transportProblem(url: URL): string | undefined {
  if (url.protocol === 'https:' || isLoopbackHost(url.hostname)) return undefined;
  return 'must be https; http is for loopback hosts only';
}

export function isWeb(url: URL): boolean {
  return url.protocol === 'https:' || url.protocol === 'http:';
}
