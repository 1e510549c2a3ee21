// What was applied anywhere must stay what it was: a database remembers the checksum of each migration.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const directory = new URL('../../src/database/migrations/', import.meta.url);

test('no migration that was shipped has changed: migrations.golden.json is only ever added to', async () => {
  const checksums = Object.fromEntries(
    readdirSync(directory)
      .sort()
      .map((name) => {
        const sql = readFileSync(new URL(name, directory), 'utf8').replaceAll('\r\n', '\n');
        return [name, createHash('sha256').update(sql).digest('hex')];
      }),
  );
  const golden = fileURLToPath(new URL('migrations.golden.json', import.meta.url));
  await expect(`${JSON.stringify(checksums, null, 2)}\n`).toMatchFileSnapshot(golden);
});

test('migrations are numbered without a gap', () => {
  const numbers = readdirSync(directory)
    .sort()
    .map((name) => Number(name.slice(0, 4)));
  expect(numbers).toEqual(numbers.map((_, at) => at + 1));
});
