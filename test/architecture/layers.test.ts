import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { circles, type Import, imports, importsOf, root, sources } from './imports.ts';

// Higher may use lower, types included: `main` → `cli` → `server` → … → `errors`. Those of one line do not know one
// another: `server` introduces them.
const layers = [
  ['main'],
  ['cli'],
  ['server'],
  ['store'],
  ['signin', 'admin', 'metrics'],
  ['entra'],
  ['issuer'],
  ['grants'],
  ['status-list', 'backchannel-logout'],
  ['accounts', 'clients', 'keys'],
  ['audit'],
  ['web'],
  ['database'],
  ['config'],
  ['log'],
  ['errors'],
  ['error-codes', 'log-events', 'stack-traces', 'bff', 'testing'],
  ['verifier'],
];

/** Which packages only one place may use at run time; their types may be named anywhere. */
const keepers: Record<string, string> = {
  'oidc-provider': 'issuer/',
  '@azure/msal-node': 'entra/msal.ts',
  '@redis/client': 'status-list/redis-denylist.ts',
  'openid-client': 'bff/',
  undici: 'entra/network.ts',
  'node-forge': 'entra/pkcs12.ts',
  pg: 'database/',
  'node:sqlite': 'database/',
  bcrypt: 'signin/password.ts',
  eta: 'web/',
  yaml: 'config/sources.ts',
  commander: 'cli/',
};

/** What the published verifier may use beside Node itself; of the frameworks that it has adapters for, the types. */
const ofVerifier = { packages: ['jose'], types: ['koa', 'express', 'fastify'] };

function problemWith({ from, to, typeOnly }: Import): string | undefined {
  const [user, used] = [partOf(from), partOf(to)];
  const problem = `${from} ${typeOnly ? 'names a type of' : 'uses'} ${to}`;
  if (user === 'verifier') {
    const allowed =
      used === 'verifier' ||
      to.startsWith('node:') ||
      ofVerifier.packages.includes(to) ||
      (typeOnly && ofVerifier.types.includes(to));
    return allowed ? undefined : `${problem}: the verifier is a package of its own`;
  }
  const keeper = keepers[to];
  if (keeper !== undefined) return typeOnly || from.startsWith(keeper) ? undefined : `${problem}: only ${keeper} may`;
  if (!to.endsWith('.ts') || user === used) return undefined;
  if (layerOf(user) === -1 || layerOf(used) === -1) return `${problem}: one of them has no layer`;
  return layerOf(user) < layerOf(used) ? undefined : `${problem}: not a lower layer`;
}

function partOf(path: string): string {
  const [first = ''] = path.split('/');
  return first.replace(/\.ts$/, '');
}

function layerOf(part: string): number {
  return layers.findIndex((layer) => layer.includes(part));
}

const filesWith = (pattern: RegExp) =>
  [...sources]
    .filter(([, code]) => pattern.test(code))
    .map(([path]) => path)
    .sort();

describe('who may know whom', () => {
  test('an import leads to a lower layer, and a package stays with its keeper', () => {
    expect(imports.length).toBeGreaterThan(150);
    expect(imports.map(problemWith).filter((problem) => problem !== undefined)).toEqual([]);
  });

  test('this test sees every form of import, and objects to what it is there for', () => {
    const objections = (from: string, code: string) => importsOf(from, code).map(problemWith).filter(Boolean).length;
    for (const code of [
      `import { signInRoutes } from '../signin/routes.ts';`,
      `import {\n  type SignIn,\n  signInRoutes,\n} from '../signin/routes.ts';`,
      `export { signInRoutes } from '../signin/routes.ts';`,
      `import '../signin/routes.ts';`,
      `const { signInRoutes } = await import('../signin/routes.ts');`,
      `import * as msal from '@azure/msal-node';`,
      `import { startServer } from '../server.ts';`,
      `import { hash } from '../unheard-of/file.ts';`,
      `import type { SignIn } from '../signin/routes.ts';`,
      `import { type SignIn, type Other } from '../signin/routes.ts';`,
    ])
      expect(objections('issuer/routes.ts', code), code).toBe(1);
    for (const code of [
      `import type Provider from 'oidc-provider';`,
      `import { emailKey } from '../accounts/account.ts';`,
    ])
      expect(objections('issuer/routes.ts', code), code).toBe(0);
    expect(objections('verifier/koa.ts', `import Koa from 'koa';`)).toBe(1);
    expect(objections('verifier/koa.ts', `import type { AppError } from '../errors.ts';`)).toBe(1);
    expect(objections('verifier/koa.ts', `import type { Context } from 'koa';`)).toBe(0);
    expect(objections('accounts/accounts.ts', `import { createClients } from '../clients/clients.ts';`)).toBe(1);
  });

  test('nobody imports in a circle, types included', () => {
    expect(circles(imports)).toEqual([]);
    expect(
      circles([
        { from: 'a.ts', to: 'b.ts', typeOnly: true, isLate: false },
        { from: 'b.ts', to: 'c.ts', typeOnly: false, isLate: true },
        { from: 'c.ts', to: 'b.ts', typeOnly: false, isLate: false },
      ]),
    ).toEqual([['b.ts', 'c.ts']]);
  });
});

describe('what a start loads', () => {
  /** Everything that comes with these files. */
  function loadedWith(...files: string[]): Set<string> {
    const loaded = new Set(files);
    for (const file of loaded) {
      for (const { from, to, typeOnly, isLate } of imports) if (from === file && !typeOnly && !isLate) loaded.add(to);
    }
    return loaded;
  }

  test('is no package for what may not be configured: Microsoft, Redis, PostgreSQL', () => {
    const loaded = loadedWith('main.ts', 'cli/run.ts', 'server.ts');
    expect(loaded).toContain('oidc-provider');
    for (const heavy of ['@azure/msal-node', 'undici', 'node-forge', '@redis/client', 'pg', 'openid-client']) {
      expect(loaded).not.toContain(heavy);
    }
  });

  test('is not the server, for a command: not for one that needs the store either', () => {
    const loaded = loadedWith('main.ts', 'cli/run.ts', 'cli/session.ts', 'store.ts');
    expect(loaded).toContain('database/open.ts');
    for (const heavy of ['oidc-provider', 'koa', '@koa/router', 'eta']) expect(loaded).not.toContain(heavy);
  });
});

describe('what only one file may touch', () => {
  test('the environment is read in config/config.ts, its pool size set and the words of the command line and the exit in main.ts', () => {
    expect(filesWith(/process\.env\b|process\['env'\]/)).toEqual(['config/config.ts', 'main.ts']);
    expect(filesWith(/process\.argv\b/)).toEqual(['main.ts']);
    expect(filesWith(/process\.exit(Code)?\b/)).toEqual(['main.ts']);
  });

  const migrations = readdirSync(join(root, 'database/migrations'));
  const tables = migrations.flatMap((name) =>
    [...readFileSync(join(root, 'database/migrations', name), 'utf8').matchAll(/^create table (\w+)/gm)].map(
      ([, table]) => table!,
    ),
  );

  test.each(tables)('the table %s is written and read in one folder', (table) => {
    const users = filesWith(new RegExp(`\\b(from|into|update|join)\\s+${table}\\b`));
    expect(new Set(users.map(partOf)), users.join()).toHaveLength(1);
  });
});
