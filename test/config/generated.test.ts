import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { configurationPage, editorSchema } from '../../scripts/config-docs.ts';
import { configJsonSchema, loadConfig } from '../../src/config/config.ts';

const read = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');

test('the schema for editors and the page of settings are what the code says (npx node scripts/config-docs.ts)', () => {
  expect(read('signet.schema.json')).toBe(editorSchema());
  expect(read('docs/configuration.md')).toBe(configurationPage());
});

test('every setting is described', () => {
  const undescribed: string[] = [];
  const visit = (schema: Record<string, any>, path: string) => {
    for (const [name, field] of Object.entries<Record<string, any>>(schema['properties'] ?? {})) {
      if (!field['description']) undescribed.push(`${path}${name}`);
      visit(field['items'] ?? field, `${path}${name}.`);
    }
  };
  visit(configJsonSchema(), '');
  expect(undescribed).toEqual([]);
});

test('the example is a valid configuration', () => {
  const config = loadConfig({ values: parse(read('signet.example.yaml')), env: {} });
  expect(config.applications.map(({ clientId }) => clientId)).toEqual(['orders-app', 'billing']);
});
