// Writes what is generated from the configuration schema: signet.schema.json, which editors read, and the page
// docs/configuration.md. A test holds both equal to the schema. Run: npx node scripts/config-docs.ts

import { writeFileSync } from 'node:fs';
import { configJsonSchema, listSettings } from '../src/config/settings.ts';

interface Field {
  description?: string;
  type?: string;
  default?: unknown;
  enum?: unknown[];
  minimum?: number;
  maximum?: number;
  writeOnly?: boolean;
  properties?: Record<string, Field>;
  required?: string[];
  items?: Field;
}

/** The text of signet.schema.json. */
export function editorSchema(): string {
  return `${JSON.stringify(configJsonSchema(), null, 2)}\n`;
}

/** The text of docs/configuration.md. */
export function configurationPage(): string {
  const root = configJsonSchema() as Field;
  const names = new Map(listSettings().map(({ path, environmentName }) => [path.join('.'), environmentName]));
  const sections = Object.entries(root.properties ?? {}).map(([name, section]) => {
    if (section.items) return table(name, section.description, declaredColumns, rowsOf(section.items, declaredRow));
    if (!section.properties) return table(name, undefined, settingColumns, [settingRow('', names)(name, section)]);
    return table(name, section.description, settingColumns, rowsOf(section, settingRow(name, names)));
  });
  return `${[introduction.trim(), ...sections].join('\n\n')}\n`;
}

const settingColumns = ['Setting', 'Environment', 'Default', 'Meaning'];
const declaredColumns = ['Field', 'Default', 'Meaning'];

type Row = string[];

function settingRow(section: string, environmentNames: ReadonlyMap<string, string>) {
  return (name: string, field: Field): Row => {
    const path = section ? `${section}.${name}` : name;
    const environmentName = environmentNames.get(path);
    return [code(path), environmentName ? code(environmentName) : '–', defaultOf(field), meaningOf(field)];
  };
}

function declaredRow(name: string, field: Field, required: boolean): Row {
  return [code(name), required ? 'required' : defaultOf(field), meaningOf(field)];
}

function rowsOf(parent: Field, row: (name: string, field: Field, required: boolean) => Row): Row[] {
  return Object.entries(parent.properties ?? {}).flatMap(([name, field]) =>
    field.properties
      ? rowsOf(field, (inner, innerField, required) => row(`${name}.${inner}`, innerField, required))
      : [row(name, field, parent.required?.includes(name) ?? false)],
  );
}

function table(title: string, description: string | undefined, columns: Row, rows: Row[]): string {
  const lines = [columns, columns.map(() => '---'), ...rows].map((cells) => `| ${cells.map(escape).join(' | ')} |`);
  return [`## ${title}`, ...(description ? [description] : []), lines.join('\n')].join('\n\n');
}

function defaultOf(field: Field): string {
  if (field.default === undefined) return '–';
  if (typeof field.default === 'object') return 'none';
  return code(String(field.default));
}

function meaningOf(field: Field): string {
  return [
    field.description,
    field.enum && `One of ${field.enum.map((value) => code(String(value))).join(', ')}.`,
    field.type === 'integer' && `From ${field.minimum} to ${field.maximum}.`,
    field.writeOnly && 'Never shown.',
  ]
    .filter(Boolean)
    .join(' ');
}

function code(text: string): string {
  return `\`${text}\``;
}

function escape(cell: string): string {
  return cell.replaceAll('|', '\\|').replaceAll('<', '&lt;');
}

const introduction = `
# Configuration

<!-- Generated from src/config/schema.ts by scripts/config-docs.ts: edit there. -->

Signet runs without any configuration. To change something, write \`signet.yaml\` in the directory where the server
starts ([signet.example.yaml](../signet.example.yaml) is a beginning), or set variables in the environment.

- **Which file.** \`--config <file>\`, else \`SIGNET_CONFIG\`, else \`signet.yaml\`. A file that was named must exist.
- **Which value.** The environment goes before the file, the file before the default. An empty variable is one that is
  not set. \`signet config check\` shows every value and where it came from, without secrets.
- **From a file.** Every variable may instead name a file that holds the value: \`SIGNET_DATABASE_URL_FILE\`, for
  secrets that Docker or Kubernetes mount. One line break at the end is removed. A setting that is itself a file's name
  is meant first: \`SIGNET_KEYS_MASTER_KEY_FILE\` is \`keys.masterKeyFile\`.
- **Lists** are separated by commas in the environment. Applications and APIs are declared in \`signet.yaml\` alone.
- **Durations** are \`45s\`, \`30m\`, \`12h\`, \`90d\` or a whole number of seconds.
- **File names** start at the directory of \`signet.yaml\`, or at the working directory where there is no such file.
- **Mistakes.** The server does not start on a configuration with a problem. It lists all of them at once, with file and
  line; a name that it does not know is one, so that a typing error never goes unnoticed.
- **Warnings.** What is right by every standard and likely to go wrong with software as it is, is accepted: \`signet config
  check\`, \`signet clients add\` and the start tell of it. Redirect URIs are compared as they are written, so write them as
  the application sends them. A client secret that is not made by Signet is best made by \`openssl rand -hex 32\`: several
  libraries send other characters than letters, digits and \`. _ ~ -\` wrongly. Access tokens of browsers and devices live 2
  minutes or more (10 with AppAuth-JS): their libraries renew them a minute ahead.
- **Encodings.** Files are UTF-8, with or without a byte order mark, or UTF-16 as PowerShell writes it.

Editors complete and check the file when its first line is
\`# yaml-language-server: $schema=./signet.schema.json\`.
`;

if (import.meta.main) {
  const root = new URL('../', import.meta.url);
  writeFileSync(new URL('signet.schema.json', root), editorSchema());
  writeFileSync(new URL('docs/configuration.md', root), configurationPage());
}
