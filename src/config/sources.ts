// Where configured values come from: signet.yaml and the SIGNET_* environment, each with its place, for messages.
// What the values mean is schema.ts's business. No message repeats a value: it may be a secret.

import { resolve } from 'node:path';
import { type Alias, type Document, isNode, isScalar, LineCounter, parseDocument, type Scalar, visit } from 'yaml';
import type { Path, Report } from './problems.ts';
import { listSettings, nearestSetting, type Setting } from './settings.ts';
import { readTextFile, readValueFile, whyUnreadable } from './text.ts';

export type Values = Record<string, unknown>;

/** One place that values come from: `find` names the place of the value at `path`, or of its nearest parent. */
export interface Source {
  values: Values;
  find(path: Path): string | undefined;
}

interface FileSource extends Source {
  found: boolean;
}

/** Reads a YAML file, called `label` in messages. A missing one is an empty one where it is `optional`. */
export function readYaml(file: string, as: { label: string; optional: boolean }, report: Report): FileSource {
  const { label, optional } = as;
  const nothing = { values: {}, find: () => undefined, found: false };
  let content: string;
  try {
    content = readTextFile(file);
  } catch (error) {
    if (optional && (error as { code?: unknown }).code === 'ENOENT') return nothing;
    report(label, [], whyUnreadable(error));
    return nothing;
  }

  const lines = new LineCounter();
  const document = parseDocument(content, {
    lineCounter: lines,
    prettyErrors: false,
    stringKeys: true,
    // A set or a map in order is no object here: the schema would see nothing in it, and pass over all that it says.
    schema: 'core',
    resolveKnownTags: false,
  });
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${label}:${line}:${col}`;
  };
  // A warning, such as an unknown !tag, means that a value was read as something else than what was written.
  const faults = [...document.errors, ...document.warnings];
  for (const { code, pos } of faults) report(place(pos[0]), [], yamlProblem(code));
  const aliases: Alias[] = [];
  const namedProto: Array<Scalar> = [];
  visit(document, {
    Alias: (_key, alias) => void aliases.push(alias),
    // No object of JavaScript can have it, and the schema would pass over it without a word.
    Pair: (_key, { key }) => void (isScalar(key) && key.value === '__proto__' && namedProto.push(key)),
  });
  for (const { range } of namedProto)
    report(place(range?.[0] ?? 0), [], 'is a name that nothing can have; choose another');
  for (const { range } of aliases) {
    report(place(range?.[0] ?? 0), [], 'begins with * and so refers to an anchor, which is not read; put it in quotes');
  }
  if (faults.length + aliases.length + namedProto.length > 0) return { ...nothing, found: true };

  const values: unknown = document.toJS();
  if (values !== null && !isObject(values)) {
    report(`${label}:1`, [], 'must hold names and values, such as issuer: https://id.example.com');
    return { ...nothing, found: true };
  }
  return { values: values ?? {}, found: true, find: (path) => lineOf(document, lines, label, path) };
}

/** A shorter name beside the one that follows from the setting's place. */
const aliases = { SIGNET_REDIS_URL: 'SIGNET_REVOCATION_REDIS_URL' };

/** Reads SIGNET_*, and the file named by SIGNET_*_FILE with its final line break removed. */
export function readEnvironment(env: NodeJS.ProcessEnv, base: string, report: Report): Source {
  const byName = new Map(listSettings().map((setting) => [setting.environmentName, setting]));
  for (const [alias, name] of Object.entries(aliases)) {
    const setting = byName.get(name);
    if (setting) byName.set(alias, setting);
  }
  const values: Values = {};
  const places = new Map<string, string>();

  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('SIGNET_') || isForeign(name, value) || !value) continue;
    // A setting that itself names a file (SIGNET_KEYS_MASTER_KEY_FILE) goes before the general rule.
    const direct = byName.get(name);
    const setting = direct ?? (name.endsWith('_FILE') ? byName.get(name.slice(0, -'_FILE'.length)) : undefined);
    if (!setting) {
      report(name, [], unknownVariable(name, [...byName.keys()]));
      continue;
    }
    if (!direct && env[setting.environmentName]) {
      report(name, setting.path, `is set twice: keep either ${setting.environmentName} or ${name}`);
      continue;
    }
    const before = places.get(setting.path.join('.'));
    if (before) {
      report(name, setting.path, `is set twice: keep either ${before} or ${name}`);
      continue;
    }
    const written = direct ? value : readValue(name, setting, resolve(base, value), report);
    if (written === undefined) continue;
    put(values, setting.path, fromText(written, setting.kind));
    places.set(setting.path.join('.'), name);
  }

  return {
    values,
    find: (path) => {
      for (let length = path.length; length > 0; length -= 1) {
        const place = places.get(path.slice(0, length).join('.'));
        if (place) return place;
      }
      return undefined;
    },
  };
}

/** `over` laid on `under`, object by object; neither is changed. */
export function merge(under: Values, over: Values): Values {
  const merged: Values = { ...under };
  for (const [name, value] of Object.entries(over)) {
    const below = merged[name];
    if (!isObject(value)) merged[name] = value;
    else if (below === undefined || below === null) merged[name] = value;
    else if (isObject(below)) merged[name] = merge(below, value);
    // Otherwise the file has a single value where a section belongs: it stays, for the schema to refuse.
  }
  return merged;
}

export function isObject(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function unreadableFile(error: unknown): string {
  return `names a file that ${whyUnreadable(error)}`;
}

// Text that does not fit stays text, for the schema to refuse in its own words.
function fromText(text: string, kind: Setting['kind']): unknown {
  if (kind === 'list')
    return text
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '');
  if (kind === 'number' && /^\d+$/.test(text)) return Number(text);
  if (kind === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}

function readValue(name: string, setting: Setting, file: string, report: Report): string | undefined {
  try {
    return readValueFile(file);
  } catch (error) {
    report(name, setting.path, unreadableFile(error));
    return undefined;
  }
}

// Kubernetes describes a Service called "signet" to its neighbours, in variables such as SIGNET_PORT=tcp://10.0.0.1:80.
const serviceLink = /^SIGNET_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)$/;

function isForeign(name: string, value: string | undefined): boolean {
  if (name === 'SIGNET_CONFIG' || name.startsWith('SIGNET_TEST_')) return true;
  if (name === 'SIGNET_PORT') return /^(tcp|udp):\/\//.test(value ?? '');
  return serviceLink.test(name);
}

function unknownVariable(name: string, known: string[]): string {
  if (/^SIGNET_(APPLICATIONS|APIS)(_|$)/.test(name)) {
    return 'is not read: applications and apis are declared in signet.yaml alone; remove it';
  }
  const suffix = name.endsWith('_FILE') ? '_FILE' : '';
  const near = nearestSetting(name.slice(0, name.length - suffix.length), known);
  if (near) return `is not a setting; did you mean ${near}${suffix}?`;
  return 'is not a setting; remove it (signet config check lists those there are)';
}

function put(values: Values, path: readonly string[], value: unknown): void {
  const [name = '', ...rest] = path;
  if (rest.length === 0) values[name] = value;
  else put((values[name] ??= {}) as Values, rest, value);
}

function lineOf(document: Document, lines: LineCounter, label: string, path: Path): string | undefined {
  for (let length = path.length; length > 0; length -= 1) {
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return `${label}:${lines.linePos(node.range[0]).line}`;
  }
  return label;
}

// The library's own sentences quote the text around the fault, which may be a secret.
function yamlProblem(code: string): string {
  switch (code) {
    case 'DUPLICATE_KEY':
      return 'has the same name twice; keep one';
    case 'BAD_INDENT':
      return 'is indented differently from its neighbours';
    case 'TAB_AS_INDENT':
      return 'is indented with a tab; YAML wants spaces';
    case 'MISSING_CHAR':
      return 'lacks a character: a closing quote or bracket, or the space after a colon or dash';
    case 'MULTIPLE_DOCS':
      return 'begins a second document; keep one';
    case 'TAG_RESOLVE_FAILED':
      return 'has a value that begins with !; put it in quotes';
    case 'BAD_SCALAR_START':
      return 'has a value that begins with a reserved character; put it in quotes';
    default:
      return `is not valid YAML (${code.toLowerCase().replaceAll('_', ' ')}); check quotes and indentation`;
  }
}
