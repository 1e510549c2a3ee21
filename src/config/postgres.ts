// The URL of a PostgreSQL database, as libpq writes it (PostgreSQL 17 documentation, §32.1.1.2): several hosts, a
// socket's directory as a host, parameters behind a question mark. The driver knows one host, and takes a parameter
// that it does not know for one that is not there; here every parameter is known or refused.

import { nearest } from './nearest.ts';

export interface PostgresAddress {
  /** In the order of preference. A host that begins with a slash is the directory of a Unix socket; '' is PGHOST. */
  hosts: Array<{ host: string; port: number | undefined }>;
  user?: string | undefined;
  password?: string | undefined;
  database?: string | undefined;
  /** By name, each of them known. */
  parameters: Map<string, string>;
}

type Check = (value: string) => string | undefined;

const anything: Check = () => undefined;
const number: Check = (value) => (/^\d{1,9}$/.test(value) ? undefined : 'must be a whole number');
const oneOf =
  (...allowed: string[]): Check =>
  (value) =>
    allowed.includes(value) ? undefined : `must be one of ${allowed.join(', ')}`;

const parameters: Record<string, Check> = {
  host: anything,
  port: anything,
  user: anything,
  password: anything,
  sslmode: oneOf('disable', 'no-verify', 'prefer', 'require', 'verify-ca', 'verify-full'),
  ssl: oneOf('true', 'false', '1', '0', 'no-verify'),
  sslrootcert: anything,
  sslcert: anything,
  sslkey: anything,
  sslnegotiation: oneOf('postgres', 'direct'),
  uselibpqcompat: oneOf('true', 'false'),
  // The driver binds the channel where the server offers it, and cannot insist.
  channel_binding: (value) =>
    value === 'require' ? 'cannot be require here; write prefer' : oneOf('prefer', 'disable')(value),
  application_name: anything,
  options: anything,
  target_session_attrs: (value) =>
    ['standby', 'read-only', 'prefer-standby'].includes(value)
      ? 'must be read-write: Signet writes'
      : oneOf('any', 'read-write', 'primary')(value),
  connect_timeout: number,
  statement_timeout: number,
  lock_timeout: number,
  idle_in_transaction_session_timeout: number,
  query_timeout: number,
  pool_max_conns: (value) => (/^[1-9]\d{0,3}$/.test(value) ? undefined : 'must be a whole number from 1'),
};

const form = /^postgres(?:ql)?:\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/s;

/** What `url` says, or a sentence about what is wrong with it, in which no value of it is repeated. */
export function parsePostgresUrl(url: string): PostgresAddress | string {
  const [whole, authority = '', database = '', query = ''] = form.exec(url) ?? [];
  if (whole === undefined) return 'is not a valid postgres:// URL';
  const search = new URLSearchParams(query);
  for (const [name, value] of search) {
    const check = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
    if (!check) return unknownParameter(name);
    if (search.getAll(name).length > 1) return `has the parameter ${name} twice; keep one`;
    const problem = check(value);
    if (problem) return `has a parameter ${name} that ${problem}`;
  }
  try {
    return addressOf(authority, database, search);
  } catch {
    return 'is not a valid postgres:// URL'; // a % that begins no escape, or a port that is no number
  }
}

function addressOf(authority: string, database: string, search: URLSearchParams): PostgresAddress {
  const at = authority.lastIndexOf('@');
  const [name = '', ...secret] = authority.slice(0, Math.max(at, 0)).split(':');
  const named = authority
    .slice(at + 1)
    .split(',')
    .map(splitHost);
  const hosts = (search.get('host')?.split(',') ?? named.map(({ host }) => host)).map(decodeURIComponent);
  const ports = search.get('port')?.split(',') ?? named.map(({ port }) => port);
  const decoded = (text: string) => (text === '' ? undefined : decodeURIComponent(text));
  return {
    hosts: hosts.map((host, index) => ({
      host,
      port: portOf((ports.length === 1 ? ports[0] : ports[index]) ?? ''),
    })),
    user: search.has('user') ? search.get('user') || undefined : decoded(name),
    password: search.get('password') ?? decoded(secret.join(':')),
    database: decoded(database),
    parameters: new Map([...search].filter(([key]) => !['host', 'port', 'user', 'password'].includes(key))),
  };
}

function splitHost(text: string): { host: string; port: string } {
  const [, host = '', port = ''] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/s.exec(text) ?? [];
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port };
}

function portOf(text: string): number | undefined {
  if (text === '') return undefined;
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > 65_535) throw new Error('no port');
  return port;
}

function unknownParameter(name: string): string {
  const near = nearest(name, Object.keys(parameters));
  const shown = /^[\w.-]{1,40}$/.test(name) ? `the parameter ${name}` : 'a parameter';
  return `has ${shown}, which is not known here${near ? `; did you mean ${near}?` : '; remove it'}`;
}
