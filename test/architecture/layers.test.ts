import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../src', import.meta.url));

interface Import {
  from: string;
  /** A path under src/, or the name of a package. */
  to: string;
  typeOnly: boolean;
  /** Loaded when it comes to that, and not with the file. */
  isLate: boolean;
}

const sources = new Map(
  readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => [path, withoutComments(readFileSync(join(root, path), 'utf8'))]),
);
const imports = [...sources].flatMap(([from, code]) => importsOf(from, code));

// Higher may use lower: `main`, `cli` → `server` → … → `errors`, `log`. Those of one line do not know one another.
const layers = [
  ['main'],
  ['cli'],
  ['server'],
  ['signin', 'entra', 'admin', 'issuer', 'metrics'],
  ['grants', 'status-list', 'backchannel-logout'],
  ['web'],
  ['clients', 'accounts', 'keys'],
  ['audit'],
  ['database'],
  ['config'],
  ['errors', 'error-codes', 'log', 'log-events', 'bff', 'testing'],
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

/** Arrows that the move of the folders has left, to be taken away. */
const leftover = new Set([
  'entra/routes.ts uses signin/complete.ts',
  'entra/sign-in.ts uses signin/complete.ts',
  'entra/sign-in.ts uses signin/home-realm.ts',
  'entra/sign-out.ts uses signin/complete.ts',
  'grants/grants.ts uses issuer/adapter.ts',
  'signin/routes.ts uses entra/errors.ts',
  'signin/routes.ts uses entra/routes.ts',
]);

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
  if (typeOnly) return undefined;
  const keeper = keepers[to];
  if (keeper !== undefined) return from.startsWith(keeper) ? undefined : `${problem}: only ${keeper} may`;
  if (!to.endsWith('.ts') || user === used) return undefined;
  if (layerOf(user) === -1 || layerOf(used) === -1) return `${problem}: one of them has no layer`;
  if (leftover.has(problem)) return undefined;
  return layerOf(user) < layerOf(used) ? undefined : `${problem}: not a lower layer`;
}

function partOf(path: string): string {
  const [first = ''] = path.split('/');
  return first.replace(/\.ts$/, '');
}

function layerOf(part: string): number {
  return layers.findIndex((layer) => layer.includes(part));
}

function importsOf(from: string, code: string): Import[] {
  const statements = [...code.matchAll(/^(?:import|export)\s+([^'"`;]*?\sfrom\s+)?'([^']+)'/gm)].map(
    ([, names = '', specifier]) => ({
      specifier: specifier!,
      typeOnly: names.startsWith('type ') || /^\{\s*(type [^,}]+,?\s*)+\}\s+from/.test(names),
      isLate: false,
    }),
  );
  const calls = [...code.matchAll(/\b(?:import|require)\(\s*'([^']+)'/g)].map(([, specifier]) => ({
    specifier: specifier!,
    typeOnly: false,
    isLate: true,
  }));
  return [...statements, ...calls].map(({ specifier, typeOnly, isLate }) => ({
    from,
    typeOnly,
    isLate,
    to: specifier.startsWith('.') ? relative(root, join(root, dirname(from), specifier)) : specifier,
  }));
}

function withoutComments(code: string): string {
  return code.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '$1');
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
      `import { createIssuer } from '../issuer/issuer.ts';`,
      `import {\n  type Issuer,\n  createIssuer,\n} from '../issuer/issuer.ts';`,
      `export { createIssuer } from '../issuer/issuer.ts';`,
      `import '../issuer/issuer.ts';`,
      `const { createIssuer } = await import('../issuer/issuer.ts');`,
      `import * as oidc from 'oidc-provider';`,
      `import { startServer } from '../server.ts';`,
      `import { hash } from '../unheard-of/file.ts';`,
    ])
      expect(objections('signin/routes.ts', code), code).toBe(1);
    for (const code of [
      `import type { Issuer } from '../issuer/issuer.ts';`,
      `import { type Issuer, type Other } from '../issuer/issuer.ts';`,
      `import { emailKey } from '../accounts/account.ts';`,
    ])
      expect(objections('signin/routes.ts', code), code).toBe(0);
    expect(objections('verifier/koa.ts', `import Koa from 'koa';`)).toBe(1);
    expect(objections('verifier/koa.ts', `import type { AppError } from '../errors.ts';`)).toBe(1);
    expect(objections('verifier/koa.ts', `import type { Context } from 'koa';`)).toBe(0);
    expect(objections('accounts/accounts.ts', `import { createClients } from '../clients/clients.ts';`)).toBe(1);
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

  test('is not the server, for a command that needs none', () => {
    expect(loadedWith('main.ts', 'cli/run.ts')).not.toContain('oidc-provider');
  });
});

describe('what only one file may touch', () => {
  test('the environment is read in config/config.ts, the words of the command line and the exit in main.ts', () => {
    expect(filesWith(/process\.env\b|process\['env'\]/)).toEqual(['config/config.ts']);
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
