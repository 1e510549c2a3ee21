// A configuration as it may be shown to somebody. What is secret says the schema (writeOnly), and nothing else does: a
// setting that is added there with `secret` is masked here without another word.

import { type Config, sourceIn } from './config.ts';
import { formatPath } from './problems.ts';
import { configJsonSchema, type JsonSchema, listSettings } from './settings.ts';
import { isObject } from './sources.ts';

export interface SettingDescription {
  path: string;
  /** Ready to be shown: secrets are masked. */
  value: unknown;
  /** `default`, `SIGNET_LISTEN_PORT`, or `signet.yaml:12`. */
  source: string;
}

/** Every setting with its value and where that came from, for `signet config check`. Secrets are masked. */
export function describeConfig(config: Config): SettingDescription[] {
  const source = sourceIn(config);
  const shown = masked(configJsonSchema(), config) as Record<string, unknown>;
  const valueAt = (path: readonly string[]) =>
    path.reduce<unknown>((value, name) => (isObject(value) ? value[name] : undefined), shown);
  const described = listSettings().map(({ path }) => ({
    path: formatPath(path),
    value: valueAt(path),
    source: source(path),
  }));
  const declared = (['applications', 'apis'] as const).flatMap((list) =>
    (shown[list] as object[]).map((entry, index) => ({
      path: formatPath([list, index]),
      // What the secret of an application became when it was read; the schema knows it under the names it is written by.
      value: 'secretHash' in entry ? { ...entry, secretHash: mask } : entry,
      source: source([list, index]),
    })),
  );
  return [...described.filter(({ value }) => value !== undefined), ...declared];
}

const mask = '(set, not shown)';

function masked(schema: JsonSchema, value: unknown): unknown {
  if (value === undefined) return undefined;
  if (schema.writeOnly) return schema.format === 'uri' ? withoutPassword(value) : mask;
  if (Array.isArray(value)) return value.map((item) => masked(schema.items ?? {}, item));
  if (!isObject(value)) return value;
  const { properties = {}, additionalProperties } = schema;
  const others = typeof additionalProperties === 'object' ? additionalProperties : {};
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name,
      masked((Object.hasOwn(properties, name) ? properties[name] : undefined) ?? others, inner),
    ]),
  );
}

// A password may also stand in the query (postgres://host/db?password=…), so that is left out as a whole.
function withoutPassword(value: unknown): string {
  return String(value)
    .replace(/\?.*$/s, '?…')
    .replace(/^([\w+.-]+:\/\/[^/@]*?):.*@/s, '$1:…@');
}
