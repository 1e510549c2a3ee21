// The settings by name: those there are, what the environment calls them, what somebody may have meant by another name,
// and their JSON Schema. What each of them means is schema.ts.

import { z } from 'zod';
import { nearest } from './nearest.ts';
import type { Path } from './problems.ts';
import { settings } from './schema.ts';

/** The members of JSON Schema (draft 7) that our schema has. */
export interface JsonSchema {
  type?: string;
  writeOnly?: boolean;
  format?: string;
  properties?: Record<string, JsonSchema>;
  additionalProperties?: JsonSchema | boolean;
  items?: JsonSchema;
}

/** The JSON Schema of signet.yaml, for editors: committed as signet.schema.json. */
export function configJsonSchema(): JsonSchema & Record<string, unknown> {
  return { ...(z.toJSONSchema(settings, { io: 'input', target: 'draft-7' }) as JsonSchema), title: 'signet.yaml' };
}

/** A setting that the environment may set; what is named by its user (applications, apis, maps) comes from the file. */
export interface Setting {
  path: string[];
  /** `keys.rotateEvery` → `SIGNET_KEYS_ROTATE_EVERY`. */
  environmentName: string;
  kind: 'text' | 'number' | 'boolean' | 'list';
}

/** Every setting of the schema, in its order. Not by its JSON Schema: making that would be felt at each start. */
export function listSettings(): Setting[] {
  return settingsIn(settings, []);
}

function settingsIn({ shape }: z.ZodObject, path: readonly string[]): Setting[] {
  return Object.entries(shape).flatMap(([name, field]) => {
    const here = [...path, name];
    const inner = unwrap(field);
    if (inner instanceof z.ZodObject) return settingsIn(inner, here);
    const isNamedByItsUser =
      inner instanceof z.ZodRecord || (inner instanceof z.ZodArray && unwrap(inner.element) instanceof z.ZodObject);
    return isNamedByItsUser ? [] : [{ path: here, environmentName: environmentName(here), kind: kindOf(inner) }];
  });
}

/** What stands behind a default, a transformation, or that it may be left out. */
function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return unwrap(schema.unwrap());
  }
  return schema instanceof z.ZodPipe ? unwrap(schema.in) : schema;
}

function kindOf(schema: z.core.$ZodType): Setting['kind'] {
  if (schema instanceof z.ZodNumber) return 'number';
  if (schema instanceof z.ZodUnion && schema.options.some((one) => one instanceof z.ZodLiteral)) return 'number'; // or a word
  if (schema instanceof z.ZodLiteral && typeof [...schema.values][0] === 'number') return 'number';
  if (schema instanceof z.ZodBoolean) return 'boolean';
  return schema instanceof z.ZodArray ? 'list' : 'text';
}

function environmentName(path: readonly string[]): string {
  return `SIGNET_${path
    .map((name) => name.replace(/[A-Z]/g, '_$&'))
    .join('_')
    .toUpperCase()}`;
}

/** What to say of a name that `schema` (by default that of signet.yaml) does not know at `path`. */
export function unknownName(path: Path, name: string, schema: z.ZodType = settings): string {
  const at = schemaAt(schema, path);
  const known = at instanceof z.ZodObject ? Object.keys(at.shape) : [];
  const near = nearestSetting(name, known);
  if (near) return `is not a setting; did you mean ${near}?`;
  return `is not a setting; ${known.length > 0 ? `known here: ${known.join(', ')}` : 'remove it'}`;
}

function schemaAt(schema: z.core.$ZodType, path: Path): z.core.$ZodType | undefined {
  return path.reduce<z.core.$ZodType | undefined>((at, step) => {
    const inner =
      at instanceof z.ZodObject
        ? at.shape[String(step)]
        : at instanceof z.ZodArray
          ? at.element
          : at instanceof z.ZodRecord
            ? at.valueType
            : undefined;
    return inner && unwrap(inner);
  }, unwrap(schema));
}

/** The setting that somebody may have meant. */
export function nearestSetting(name: string, known: string[]): string | undefined {
  // SIGNET_PORT is a shortened SIGNET_LISTEN_PORT, however many letters lie between them.
  const shortened = known.find((one) => one.startsWith('SIGNET_') && one.endsWith(name.slice('SIGNET'.length)));
  return shortened ?? nearest(name, known, (near) => near.replace(/^SIGNET_/, '').length);
}
