import { describe, expect, test } from 'vitest';
import { parsePostgresUrl } from '../../src/config/postgres.ts';

describe('the URL of a PostgreSQL database', () => {
  test.each<[string, object]>([
    [
      'postgres://signet@db.example.com/signet',
      { hosts: [{ host: 'db.example.com' }], user: 'signet', database: 'signet' },
    ],
    ['postgresql://u:p%40ss%2F@h:6432/d', { hosts: [{ host: 'h', port: 6432 }], user: 'u', password: 'p@ss/' }],
    ['postgres://u:p@ss:word@h/d', { hosts: [{ host: 'h' }], user: 'u', password: 'p@ss:word' }],
    ['postgres://a,b:5433/d', { hosts: [{ host: 'a' }, { host: 'b', port: 5433 }], database: 'd' }],
    ['postgres://[::1]:5433,[2001:db8::1]/d', { hosts: [{ host: '::1', port: 5433 }, { host: '2001:db8::1' }] }],
    ['postgres:///d?host=/var/run/postgresql', { hosts: [{ host: '/var/run/postgresql' }], database: 'd' }],
    ['postgres://%2Fvar%2Frun%2Fpostgresql/d', { hosts: [{ host: '/var/run/postgresql' }], database: 'd' }],
    [
      'postgres:///d?host=a,b&port=1,2',
      {
        hosts: [
          { host: 'a', port: 1 },
          { host: 'b', port: 2 },
        ],
      },
    ],
    [
      'postgres:///d?host=a,b&port=7',
      {
        hosts: [
          { host: 'a', port: 7 },
          { host: 'b', port: 7 },
        ],
      },
    ],
    ['postgres://h/d?user=u&password=p%25', { user: 'u', password: 'p%' }],
    ['postgres://h', { hosts: [{ host: 'h' }], database: undefined }],
  ])('%s is read as libpq reads it', (url, address) => {
    expect(parsePostgresUrl(url)).toMatchObject(address);
  });

  test.each([
    'postgres:h/d',
    'postgres://h:port/d',
    'postgres://h:0/d',
    'postgres://h:99999/d',
    'postgres://u%@h/d',
    'postgres://h/%zz',
    'postgres://h/d?x',
    'postgres://h/d?hunter2=1',
    'postgres://h/d?__proto__=1',
    'postgres://h/d?sslmode=hunter2',
    'postgres://h/d#hunter2',
  ])('%s is refused in a sentence, and nothing of its values repeated', (url) => {
    const problem = parsePostgresUrl(url);
    expect(problem).toEqual(expect.stringMatching(/^(is not|has) /));
    if (!url.includes('?hunter2')) expect(problem).not.toContain('hunter2');
  });
});
