// signet.yaml and the SIGNET_* environment become one frozen Config here, and no other module reads process.env.
// All problems are listed at once. Settings and their checks: schema.ts; reading: sources.ts.

import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { z } from 'zod';
import { clientSecretRule } from './application-rules.ts';
import { type ApiConfig, type ApplicationConfig, administrationApi } from './applications.ts';
import { appRoleProblem, roleMapping } from './entra.ts';
import { maxAccessTokenLife } from './fields.ts';
import {
  ConfigError,
  type ConfigProblem,
  formatPath,
  formatProblem,
  type Path,
  type Report,
  sentence,
} from './problems.ts';
import { isLoopbackHost } from './rules.ts';
import { issuerOf, type ParsedSettings, settings } from './schema.ts';
import { configJsonSchema, unknownName } from './settings.ts';
import { isObject, merge, readEnvironment, readYaml, type Source, unreadableFile, type Values } from './sources.ts';
import { readValueFile } from './text.ts';
import { warningsOf } from './warnings.ts';

export {
  type ApiConfig,
  type ApplicationConfig,
  administrationApi,
  ConfigError,
  type ConfigProblem,
  configJsonSchema,
  formatProblem,
  maxAccessTokenLife,
};

/** Everything configured. Durations are in seconds, files are absolute paths, the whole is frozen. */
export interface Config extends Omit<ParsedSettings, 'applications' | 'metrics'> {
  /** Public URL of this server, without trailing slash. */
  issuer: string;
  /** `drainDelay` in seconds. */
  listen: ParsedSettings['listen'] & { host: string; drainDelay: number };
  /** Absent where no port is configured: then there are none. */
  metrics?: { listen: { host: string; port: number } } | undefined;
  applications: ApplicationConfig[];
}

export type EntraConfig = NonNullable<ParsedSettings['entra']>;

export interface LoadOptions {
  /** The file named by --config. Default: SIGNET_CONFIG, else signet.yaml where that exists. */
  file?: string;
  /** What signet.yaml would hold, instead of a file: for tests and for embedding. */
  values?: Values;
  /** Default: process.env. */
  env?: NodeJS.ProcessEnv;
  /** Where relative names start when no file is read. Default: the working directory. */
  cwd?: string;
}

/** The words by which the reader of what we print has started this, and would start another command. */
export function ownCommand(env: NodeJS.ProcessEnv = process.env): string {
  return env['npm_lifecycle_event'] ? 'npm run signet --' : 'signet';
}

/**
 * Reads, checks and freezes the configuration. The environment goes before the file, the file before the defaults.
 * Relative file names start at the directory of the configuration file, or at `cwd` where none is read.
 *
 * @throws {ConfigError} code `config_invalid`, with every problem in `problems` and in the message; never a secret.
 */
export function loadConfig({ file, values, env = process.env, cwd = process.cwd() }: LoadOptions = {}): Config {
  const problems: ConfigProblem[] = [];
  const report: Report = (source, path, message) => problems.push({ source, path: formatPath(path), message });

  const named = file ?? (env['SIGNET_CONFIG'] || undefined);
  const yamlFile = resolve(cwd, named ?? 'signet.yaml');
  const fromFile = values
    ? { values, find: () => undefined, found: false }
    : readYaml(yamlFile, { label: named ?? 'signet.yaml', optional: named === undefined }, report);
  const base = fromFile.found ? dirname(yamlFile) : cwd;
  const fromEnvironment = readEnvironment(env, base, report);

  const given = merge(dropEmptySections(fromFile.values), fromEnvironment.values);
  const find = (path: Path) => fromEnvironment.find(path) ?? fromFile.find(path) ?? '';
  const reportAt = (path: Path, message: string) => report(find(path), path, message);

  const parsed = settings.safeParse(given, { error: sentence });
  for (const issue of parsed.error?.issues ?? []) reportIssue(issue, reportAt);
  const secrets = readSecrets(given, base, reportAt);
  checkLogo(given, base, reportAt);
  if (!parsed.data || problems.length > 0) throw new ConfigError(problems);

  const config = deepFreeze(complete(parsed.data, hashesOf(given, secrets), base));
  warnings.set(
    config,
    warningsOf(config, secrets).map(({ path, message }) => ({ source: find(path), path: formatPath(path), message })),
  );
  sources.set(config, sourceOf(given, { fromEnvironment, fromFile }));
  return config;
}

/**
 * Reads a mapping such as stands under entra.roles, from a file of its own: to be tried before it is applied.
 * @param tenant that of entra.tenant
 * @throws {ConfigError}
 */
export function loadRoleMapping(file: string, tenant: string | undefined, cwd = process.cwd()): EntraConfig['roles'] {
  const problems: ConfigProblem[] = [];
  const report: Report = (source, path, message) => problems.push({ source, path: formatPath(path), message });
  const { values, find } = readYaml(resolve(cwd, file), { label: file, optional: false }, report);
  const parsed = roleMapping.safeParse(values, { error: sentence });
  const reportAt = (path: Path, message: string) => report(find(path) ?? file, path, message);
  for (const issue of parsed.error?.issues ?? []) reportIssue(issue, reportAt, roleMapping);
  const problem = parsed.data && appRoleProblem(tenant, parsed.data);
  if (problem) reportAt(problem.path as Path, problem.message);
  if (!parsed.data || problems.length > 0) throw new ConfigError(problems);
  return deepFreeze(parsed.data);
}

/** What is legal and likely to go wrong: where it stands, and why. The server starts all the same. */
export function configWarnings(config: Config): readonly ConfigProblem[] {
  return warnings.get(config) ?? [];
}

const warnings = new WeakMap<Config, readonly ConfigProblem[]>();

// Which values were given, kept beside the Config so that its shape stays that of the schema.
const sources = new WeakMap<Config, (path: Path) => string>();

/** Where the value at `path` came from: `default`, `SIGNET_LISTEN_PORT`, or `signet.yaml:12`. */
export function sourceIn(config: Config): (path: Path) => string {
  return sources.get(config) ?? (() => 'default');
}

function sourceOf(given: Values, from: { fromEnvironment: Source; fromFile: Source }): (path: Path) => string {
  return (path) => {
    if (valueAt(given, path) === undefined) return 'default';
    return from.fromEnvironment.find(path) ?? from.fromFile.find(path) ?? 'given';
  };
}

function valueAt(values: unknown, path: Path): unknown {
  return path.reduce<unknown>((value, step) => (value as Record<PropertyKey, unknown> | undefined)?.[step], values);
}

function complete(parsed: ParsedSettings, secretHashes: ReadonlyMap<number, string>, base: string): Config {
  const issuer = issuerOf(parsed);
  const {
    keys,
    branding,
    metrics: { listen: metricsAt },
  } = parsed;
  const isLocal = isLoopbackHost(new URL(issuer).hostname);
  return {
    ...parsed,
    issuer,
    listen: {
      ...parsed.listen,
      host: parsed.listen.host ?? (isLocal ? '127.0.0.1' : '0.0.0.0'),
      drainDelay: parsed.listen.drainDelay ?? (isLocal ? 0 : 3),
    },
    metrics: metricsAt.port === undefined ? undefined : { listen: { host: metricsAt.host, port: metricsAt.port } },
    database: { url: absoluteDatabaseUrl(parsed.database.url, base) },
    keys: {
      ...keys,
      masterKeyFile: resolve(base, keys.masterKeyFile),
      ...(keys.previousMasterKeyFile && { previousMasterKeyFile: resolve(base, keys.previousMasterKeyFile) }),
    },
    branding: { ...branding, ...(branding.logoFile && { logoFile: resolve(base, branding.logoFile) }) },
    ...(parsed.entra && { entra: withAbsoluteFiles(parsed.entra, base) }),
    applications: parsed.applications.map(({ secret, secretFile, secretSha256, ...app }, index) => ({
      ...app,
      ...(secretHashes.has(index) && { secretHash: secretHashes.get(index) }),
      refreshTokens: app.refreshTokens ?? app.type !== 'service',
    })),
  };
}

function withAbsoluteFiles(entra: EntraConfig, base: string): EntraConfig {
  const absolute = <T extends object>(given: T): T =>
    Object.fromEntries(
      Object.entries(given).map(([name, value]) => [
        name,
        name.endsWith('File') ? resolve(base, String(value)) : value,
      ]),
    ) as T;
  return { ...absolute(entra), ...(entra.secondary && { secondary: absolute(entra.secondary) }) };
}

function absoluteDatabaseUrl(url: string, base: string): string {
  const file = /^sqlite:(.+)$/s.exec(url)?.[1];
  return file === undefined || file === ':memory:' ? url : `sqlite:${resolve(base, file)}`;
}

// `keys:` with every line below it commented out is a section that is not there.
function dropEmptySections(values: Values): Values {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));
}

type ReportAt = (path: Path, message: string) => void;

interface WrittenSecret {
  application: number;
  path: Path;
  secret: string;
}

/** The secrets of applications that stand in clear. Takes unchecked values, to report along with everything else. */
function readSecrets(given: Values, base: string, report: ReportAt): WrittenSecret[] {
  return applicationsIn(given).flatMap(({ secret, secretFile }, application) => {
    const written = [];
    const at = (name: string) => ['applications', application, name];
    if (typeof secret === 'string') written.push({ application, path: at('secret'), secret });
    if (typeof secretFile !== 'string') return written;
    const path = at('secretFile');
    const content = readOr(() => readValueFile(resolve(base, secretFile)), path, report);
    if (content === undefined) return written;
    const problem = clientSecretRule(content);
    if (problem) report(path, problem);
    return [...written, { application, path, secret: content }];
  });
}

/** By position. */
function hashesOf(given: Values, secrets: readonly WrittenSecret[]): Map<number, string> {
  const hashes = applicationsIn(given).map(
    ({ secretSha256 }, index) =>
      [index, typeof secretSha256 === 'string' ? secretSha256.toLowerCase() : undefined] as const,
  );
  const known = hashes.filter((pair): pair is [number, string] => pair[1] !== undefined);
  return new Map([...known, ...secrets.map(({ application, secret }) => [application, sha256(secret)] as const)]);
}

function applicationsIn(given: Values): Values[] {
  const written: unknown[] = Array.isArray(given['applications']) ? given['applications'] : [];
  return written.map((one) => (isObject(one) ? one : {}));
}

const largestLogoBytes = 100_000;

function checkLogo(given: Values, base: string, report: ReportAt): void {
  const path = ['branding', 'logoFile'];
  const name = valueAt(given, path);
  if (typeof name !== 'string') return;
  const file = resolve(base, name);
  const size = readOr(() => statSync(file).size, path, report);
  if (size === undefined) return;
  if (size > largestLogoBytes) return report(path, `is ${size} bytes; at most ${largestLogoBytes} are allowed`);
  const content = readOr(() => readFileSync(file, 'latin1'), path, report);
  if (content === undefined) return;
  const isPng = /\.png$/i.test(file) && content.startsWith('\x89PNG\r\n\x1a\n');
  const isSvg = /\.svg$/i.test(file) && /<svg[\s>]/.test(content);
  if (!isPng && !isSvg) report(path, 'must be a PNG or SVG image whose name ends in .png or .svg');
}

function readOr<T>(read: () => T, path: Path, report: ReportAt): T | undefined {
  try {
    return read();
  } catch (error) {
    report(path, unreadableFile(error));
    return undefined;
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function reportIssue(issue: z.core.$ZodIssue, report: ReportAt, schema: z.ZodType = settings): void {
  if (issue.code !== 'unrecognized_keys') return report(issue.path, issue.message);
  for (const key of issue.keys) {
    report([...issue.path, key], unknownName(issue.path, key, schema));
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  for (const inner of Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
}
