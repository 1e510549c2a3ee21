import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import {
  ConfigError,
  type ConfigProblem,
  configJsonSchema,
  type LoadOptions,
  loadConfig,
  loadRoleMapping,
} from '../../src/config/config.ts';
import { listSettings } from '../../src/config/settings.ts';

/** The members of JSON Schema that ours has. */
interface Schema {
  type?: string;
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  items?: Schema;
}

type Step = string | number;

/** Every setting that there is, once, made from the schema; what the rules say of it does not matter here. */
function sampleOf(schema: Schema, path: Step[], paths: Step[][]): unknown {
  paths.push(path);
  if (schema.anyOf) return sampleOf(schema.anyOf.at(-1)!, path, []);
  if (schema.enum) return schema.enum[0];
  const members = Object.entries(schema.properties ?? {});
  const others = typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined;
  switch (schema.type) {
    case 'object':
      if (others) members.push([guid, others]);
      return Object.fromEntries(members.map(([name, inner]) => [name, sampleOf(inner, [...path, name], paths)]));
    case 'array':
      return [sampleOf(schema.items!, [...path, 0], paths), sampleOf(schema.items!, [...path, 1], [])];
    case 'boolean':
      return true;
    case 'integer':
    case 'number':
      return 2048;
    default:
      return 'https://orders.example.com';
  }
}

const guid = '72f988bf-86f1-41af-91ab-2d7cd011db47';
const schema = configJsonSchema() as Schema;
const paths: Step[][] = [];
const sample = sampleOf(schema, [], paths) as Record<string, unknown>;
const values = [
  5,
  -1,
  1.5,
  Infinity,
  NaN,
  1e300,
  true,
  null,
  '',
  'text',
  '5',
  '\u0000',
  '\ud800',
  'x'.repeat(5_000),
  '{tenantid}',
  [],
  ['x'],
  [5],
  [null],
  [[]],
  [{}],
  {},
  { x: 5 },
  { x: { x: [] } },
  { [guid]: 5 },
  { toString: 1 },
  JSON.parse('{"__proto__": {}}'),
];

function schemaAt(path: Step[]): Schema {
  return path.reduce<Schema>((at, step) => {
    const others = typeof at.additionalProperties === 'object' ? at.additionalProperties : undefined;
    return (typeof step === 'number' ? at.items : (at.properties?.[step] ?? others)) ?? {};
  }, schema);
}

function fits({ type, enum: oneOf, anyOf }: Schema, value: unknown): boolean {
  if (anyOf) return anyOf.some((one) => fits(one, value));
  if (oneOf) return oneOf.includes(value);
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  if (type === 'integer') return Number.isSafeInteger(value);
  return typeof value === type;
}

function withValue(at: unknown, [step, ...rest]: Step[], value: unknown): unknown {
  if (step === undefined) return value;
  if (Array.isArray(at)) return at.map((item, index) => (index === step ? withValue(item, rest, value) : item));
  const members = (typeof at === 'object' && at !== null ? at : {}) as Record<string, unknown>;
  return { ...members, [step]: withValue(members[step], rest, value) };
}

/** The section of the setting alone, with this value in its place. */
function sectionWith(path: Step[], value: unknown): Record<string, unknown> {
  const section = String(path[0]);
  return withValue({ [section]: sample[section] }, path, value) as Record<string, unknown>;
}

/** The problems; anything but a ConfigError fails the test. */
function problemsOf(options: LoadOptions): readonly ConfigProblem[] {
  try {
    loadConfig({ env: {}, ...options });
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

const format = (path: Step[]) =>
  path.reduce<string>(
    (text, step) => (typeof step === 'number' ? `${text}[${step}]` : `${text}${text && '.'}${step}`),
    '',
  );

test('the schema is walked to its end', () => {
  expect(paths.map(format)).toEqual(
    expect.arrayContaining([
      'issuer',
      'listen.port',
      'applications[0].introspects[0]',
      `applications[0].access.${guid}[0]`,
      `entra.roles.tenants.${guid}.appRoles.${guid}[0]`,
      'entra.secondary.passphrase',
      `apis[0].scopes.${guid}`,
    ]),
  );
});

const accidents = /undefined|\[object|TypeError|is not a function|NaN/;

function isRefused(path: Step[], value: unknown): boolean {
  // A section that holds nothing is one that is not there.
  const isEmptySection = value === null && path.length === 1;
  return !fits(schemaAt(path), value) && !isEmptySection;
}

test('whatever is written in place of a setting: a problem of that setting, never a crash', () => {
  const faults: string[] = [];
  for (const path of paths.slice(1)) {
    for (const value of values) {
      const problems = problemsOf({ values: sectionWith(path, value) });
      const here = format(path);
      const found = problems.filter((problem) => problem.path.startsWith(here));
      const wording = problems.find(({ message }) => accidents.test(message));
      if (wording) faults.push(`${here} = ${JSON.stringify(value)}: ${wording.message}`);
      if (isRefused(path, value) && found.length === 0) faults.push(`${here} = ${JSON.stringify(value)}: accepted`);
    }
  }
  expect(faults).toEqual([]);
});

test('a problem of signet.yaml tells the line of its setting', () => {
  const cwd = mkdtempSync(join(tmpdir(), 'signet-config-'));
  const faults: string[] = [];
  try {
    for (const [at, path] of paths.slice(1).entries()) {
      const value = [5, 'text', null, [5], { x: 5 }].filter((one) => isRefused(path, one))[at % 3];
      if (value === undefined) continue;
      const text = stringify(sectionWith(path, value), { aliasDuplicateObjects: false, lineWidth: 0 });
      writeFileSync(join(cwd, 'signet.yaml'), text);
      const here = format(path);
      const found = problemsOf({ cwd }).find((problem) => problem.path.startsWith(here));
      const [, line] = /^signet\.yaml:(\d+)$/.exec(found?.source ?? '') ?? [];
      const name = String(path.findLast((step) => typeof step === 'string'));
      const near = text
        .split('\n')
        .slice(Math.max(0, Number(line) - 3), Number(line) + 1)
        .join('\n');
      if (!near.includes(name)) faults.push(`${here} = ${JSON.stringify(value)}: ${found?.source}`);
    }
  } finally {
    rmSync(cwd, { recursive: true });
  }
  expect(faults).toEqual([]);
});

test('whatever is written in several places at once: a list of problems, and the one of each is in it', () => {
  const change = fc.tuple(fc.constantFrom(...paths.slice(1)), fc.constantFrom(...values));
  fc.assert(
    fc.property(fc.array(change, { minLength: 2, maxLength: 6 }), (changes) => {
      const written = changes.reduce<unknown>((all, [path, value]) => withValue(all, path, value), sample);
      expect(problemsOf({ values: written as never }).length).toBeGreaterThan(0);
    }),
    { numRuns: 150 },
  );
});

test('what is wrong in one section does not hide what is wrong in another', () => {
  const wrong = { toString: 5 };
  const sections = Object.keys(schema.properties!);
  const found = problemsOf({ values: Object.fromEntries(sections.map((name) => [name, wrong])) });
  for (const name of sections)
    expect(
      found.filter(({ path }) => path.startsWith(name)),
      name,
    ).not.toEqual([]);
});

test('whatever a variable of the environment holds: a problem that names it, never a crash', () => {
  const texts = [
    '5',
    '-1',
    'x',
    'true',
    ',',
    'a,b',
    '{}',
    '[]',
    'null',
    'é'.repeat(300),
    'http://[',
    '1e9',
    '../x',
    '%',
  ];
  for (const { environmentName, path } of listSettings()) {
    for (const text of texts) {
      for (const { source, message } of problemsOf({ env: { [environmentName]: text } })) {
        expect.soft(message).not.toMatch(accidents);
        // A rule that compares settings, or asks for one that is missing, tells where that one stands.
        if (source !== '') expect.soft(source, message).toBe(environmentName);
      }
      if (text !== 'http://[' || path.join('.') !== 'issuer') continue;
      expect(problemsOf({ env: { [environmentName]: text } })).toMatchObject([
        { source: environmentName, path: 'issuer' },
      ]);
    }
  }
});

test('whatever stands in a mapping of roles of its own: a problem at its line, never a crash', () => {
  const cwd = mkdtempSync(join(tmpdir(), 'signet-config-'));
  const mapping = (sample['entra'] as Record<string, unknown>)['roles'];
  const faults: string[] = [];
  try {
    for (const path of paths.filter(([first, second]) => first === 'entra' && second === 'roles')) {
      for (const value of values) {
        const text = stringify(withValue(mapping, path.slice(2), value), { aliasDuplicateObjects: false });
        writeFileSync(join(cwd, 'mapping.yaml'), text);
        try {
          loadRoleMapping('mapping.yaml', guid, cwd);
        } catch (error) {
          const wrong =
            error instanceof ConfigError
              ? error.problems.find(
                  ({ source, message }) => accidents.test(message) || !/^mapping\.yaml(:\d+)*$/.test(source),
                )
              : error;
          if (wrong)
            faults.push(`${format(path)} = ${JSON.stringify(value)}: ${JSON.stringify(wrong)} ${String(error)}`);
        }
      }
    }
    writeFileSync(join(cwd, 'mapping.yaml'), 'appRole: {}\n');
    expect(() => loadRoleMapping('mapping.yaml', guid, cwd)).toThrow(
      'mapping.yaml:1 appRole: is not a setting; did you mean appRoles?',
    );
  } finally {
    rmSync(cwd, { recursive: true });
  }
  expect(faults.slice(0, 3)).toEqual([]);
});
