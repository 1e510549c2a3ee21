// Migration 0008 moves refresh tokens into a table of their own: who is signed in stays so.

import { readdirSync, readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { expect, onTestFinished, test } from 'vitest';
import type { Database } from '../../src/database/database.ts';
import { createRefreshHandles, digestOf } from '../../src/grants/refresh-handle.ts';
import { createRefreshTokens } from '../../src/grants/refresh-rows.ts';

const directory = new URL('../../src/database/migrations/', import.meta.url);
const sqlOf = (name: string) => readFileSync(new URL(name, directory), 'utf8');

test('a refresh token of before is good after it, once; what was spent before is not', async () => {
  const raw = new DatabaseSync(':memory:');
  onTestFinished(() => raw.close());
  const names = readdirSync(directory).sort();
  for (const name of names.filter((one) => one < '0008')) raw.exec(sqlOf(name));
  const exp = 4_000_000_000;
  const payload = JSON.stringify({ clientId: 'spa', grantId: 'grant', accountId: 'ada', sessionUid: 'session', exp });
  const insert = raw.prepare(
    `insert into oidc_models (model, id, payload, grant_id, account_id, rotated_from, expires_at)
     values (?, ?, ?, ?, 'ada', ?, ?)`,
  );
  insert.run('Grant', 'grant', '{}', null, null, exp * 1000);
  insert.run('RefreshToken', digestOf('spent'), payload, 'grant', null, exp * 1000);
  insert.run('RefreshToken', digestOf('living'), payload, 'grant', digestOf('spent'), exp * 1000);
  for (const name of names.filter((one) => one >= '0008')) raw.exec(sqlOf(name));

  const db = {
    async query(sql: string, values: readonly (string | number | null)[] = []) {
      const statement = raw.prepare(sql.replace(/\$(\d+)/g, '?$1'));
      if (/^\s*select/.test(sql)) return { rows: statement.all(...values), rowCount: 0 };
      return { rows: [], rowCount: Number(statement.run(...values).changes) };
    },
  } as unknown as Database;
  const tokens = createRefreshTokens(db);
  const handles = createRefreshHandles([Buffer.alloc(32, 1)]);

  const found = await tokens.findRefreshToken('living');
  expect(found).toMatchObject({
    state: 'current',
    payload: { clientId: 'spa', grantId: 'grant', sessionUid: 'session' },
  });
  expect(await tokens.findRefreshToken('spent')).toBeUndefined();

  const handle = handles.next('living', exp);
  const successor = { handle, payload: found!.payload, request: '[null,null]', network: '' };
  expect(await tokens.rotate('living', successor, 1)).toBe(true);
  expect(await tokens.rotate('living', successor, 1)).toBe(false);
  expect(await tokens.findRefreshToken(handle)).toMatchObject({ state: 'current', payload: { exp } });
  expect(await tokens.findRefreshToken('living')).toMatchObject({ state: 'previous' });
});
