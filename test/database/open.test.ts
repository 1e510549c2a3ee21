import { describe, expect, test } from 'vitest';

import { openDatabase } from '../../src/database/open.ts';

describe('a database URL of no accepted form', () => {
  test.each([
    'mysql://signet:hunter2@localhost/signet',
    'signet.db',
    'sqlite:',
    'sqlite://data/signet.db',
    'postgres:signet:hunter2@localhost:port',
    'postgres://signet:hunter2@localhost:port/signet',
    '',
  ])('%j is refused with the accepted forms, and no password is repeated', async (url) => {
    const error = await openDatabase(url).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'database_url',
      hint: expect.stringMatching(/postgres:\/\/user:password@host:5432\/name/),
    });
    expect(JSON.stringify([String(error), error])).not.toContain('hunter2');
  });
});
