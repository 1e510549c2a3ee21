import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { packages, tarballOf } from '../../scripts/build-package.ts';
import { createTestIssuer, type TestIssuer } from '../../src/testing/index.ts';
import { asModule, documentedCode } from './documented.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const audience = 'https://orders.example.com';
const tsc = join(root, 'node_modules/typescript/bin/tsc');

function manifestOf(folder: string): { version: string; dependencies: Record<string, string> } {
  return JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
}

describe('the packages, installed in a service', () => {
  let issuer: TestIssuer;
  let service: string;

  beforeAll(async () => {
    issuer = await createTestIssuer({ audience, claims: { scope: 'orders:read' } });
    service = mkdtempSync(join(tmpdir(), 'signet-service-'));
    execFileSync(process.execPath, ['scripts/build-package.ts'], { cwd: root });
    writeFileSync(join(service, 'package.json'), JSON.stringify({ name: 'service', type: 'module', private: true }));
    const install = ['install', ...packages.map(tarballOf), '--prefer-offline', '--no-audit', '--no-fund'];
    execFileSync('npm', install, { cwd: service, stdio: 'pipe' });
  });
  afterAll(async () => {
    rmSync(service, { recursive: true, force: true });
    await issuer.close();
  });

  const installed = (path: string) => join(service, 'node_modules', path);
  const write = (name: string, text: string) => writeFileSync(join(service, name), text);

  const adapted = ['index', 'koa', 'express', 'fastify'];
  test.each([
    { name: 'verifier', entries: adapted, most: 40_000 },
    { name: 'bff', entries: adapted, most: 35_000 },
    { name: 'testing', entries: ['index'], most: 15_000 },
  ])('$name is small, and holds its own modules alone', ({ name, entries, most }) => {
    const files = execFileSync('tar', ['-tzf', tarballOf(name)], { encoding: 'utf8' })
      .trim()
      .split('\n');
    const expected = /^package\/(?:[a-z-]+\.(?:js|d\.ts)|package\.json|README\.md|LICENSE)$/;
    expect(files.filter((file) => !expected.test(file))).toEqual([]);
    for (const entry of entries) expect(files).toContain(`package/${entry}.js`);
    expect(files).toContain('package/LICENSE');
    expect(statSync(tarballOf(name)).size).toBeLessThan(most);
  });

  test('the verifier depends on jose and on nothing else, the others on it and what they are for', () => {
    const needs = (name: string) =>
      Object.keys(JSON.parse(readFileSync(installed(`@signet-idp/${name}/package.json`), 'utf8')).dependencies);
    expect(needs('verifier')).toEqual(['jose']);
    expect(needs('bff')).toEqual(['@signet-idp/verifier', 'openid-client']);
    expect(needs('testing')).toEqual(['@signet-idp/verifier']);
    const lock = JSON.parse(readFileSync(join(service, 'package-lock.json'), 'utf8')) as { packages: object };
    const names = [...packages.map((name) => `@signet-idp/${name}`), 'jose', 'oauth4webapi', 'openid-client'];
    expect(Object.keys(lock.packages).sort()).toEqual(['', ...names.map((name) => `node_modules/${name}`)].sort());
  });

  test('are of one version, to the digit, as the server is', () => {
    for (const name of packages) {
      const { version, dependencies } = manifestOf(`src/${name}`);
      expect(version).toBe(packageJson.version);
      expect(dependencies['@signet-idp/verifier'] ?? version).toBe(version);
    }
    expect(manifestOf('src/verifier').dependencies.jose).toBe(packageJson.dependencies.jose);
    expect(manifestOf('src/bff').dependencies['openid-client']).toBe(packageJson.devDependencies['openid-client']);
  });

  test.each(packages)('the README of %s has no link that leads nowhere', (name) => {
    const links = [...readFileSync(installed(`@signet-idp/${name}/README.md`), 'utf8').matchAll(/\]\(([^)]*)\)/g)];
    expect(links.filter(([, to]) => !to!.startsWith('https://'))).toEqual([]);
  });

  test('know one VerificationError between them: what the verifier throws, the cookie mode answers', () => {
    write(
      'one-class.js',
      `
      import { createServer } from 'node:http';
      import { createBff } from '@signet-idp/bff';
      import { VerificationError } from '@signet-idp/verifier';
      const bff = createBff({ issuer: 'https://id.example.com', clientId: 'shop', clientSecret: 'x',
        baseUrl: 'https://shop.example.com', cookieKeys: [Buffer.alloc(32)],
        verifier: { verify() { throw new VerificationError('expired', 'over'); }, close() {} } });
      // Its own refusal of a request from another site is an error of the verifier's.
      const server = createServer((req, res) => bff.protect(req, res)).listen(0, '127.0.0.1', async () => {
        const { status } = await fetch('http://127.0.0.1:' + server.address().port, { method: 'POST' });
        console.log(status);
        server.close();
        bff.close();
      });
    `,
    );
    expect(execFileSync('node', ['one-class.js'], { cwd: service, encoding: 'utf8' }).trim()).toBe('403');
  });

  test('verifies a token in a plain Node process', () => {
    write(
      'service.js',
      `
      import { createVerifier } from '@signet-idp/verifier';
      import { requireToken } from '@signet-idp/verifier/koa';
      import { requireScope } from '@signet-idp/verifier/express';
      import { requireRole } from '@signet-idp/verifier/fastify';
      const [jwks, issuer, audience, jwt] = process.argv.slice(2);
      const verifier = createVerifier({ issuer, audience, jwks: JSON.parse(jwks) });
      const { sub } = await verifier.verify(jwt, { scope: 'orders:read' });
      const refused = await verifier.verify(jwt + '=').catch((error) => error.code);
      const guards = [requireToken(verifier), requireScope('a'), requireRole('a')];
      console.log(JSON.stringify([sub, refused, ...guards.map((guard) => typeof guard)]));
    `,
    );
    const values = [JSON.stringify(issuer.jwks), issuer.issuer, audience, issuer.sign()];
    const said = execFileSync('node', ['service.js', ...values], { cwd: service, encoding: 'utf8' });
    expect(JSON.parse(said)).toEqual(['test-person', 'malformed', 'function', 'function', 'function']);
  });

  test('tests a service in a plain Node process', () => {
    write(
      'service-test.js',
      `
      import { createTestIssuer, forgeries } from '@signet-idp/testing';
      import { createVerifier } from '@signet-idp/verifier';
      const { issuer, sign, forge, close } = await createTestIssuer({ audience: 'https://orders.example.com' });
      const verifier = createVerifier({ issuer, audience: 'https://orders.example.com' });
      const { sub } = await verifier.verify(sign());
      const refused = forgeries.slice(0, -1).map((forgery) =>
        verifier.verify(forge(forgery)).then(() => [], () => forgery));
      await close();
      console.log(JSON.stringify([sub, (await Promise.all(refused)).flat().length, forgeries.length]));
    `,
    );
    const said = execFileSync('node', ['service-test.js'], { cwd: service, encoding: 'utf8' });
    const [sub, refused, forgeries] = JSON.parse(said);
    expect(sub).toBe('test-person');
    // All but the last, of an unknown key, which would ask an issuer that is closed.
    expect(refused).toBe(forgeries - 1);
  });

  test("has types that hold in a strict project without node's own", () => {
    write(
      'service.ts',
      `
      import { bearerToken, createVerifier, VerificationError } from '@signet-idp/verifier';
      import type { AccessToken, Verifier } from '@signet-idp/verifier';
      import { requireToken } from '@signet-idp/verifier/express';
      import { createTestIssuer, type TestIssuer } from '@signet-idp/testing';
      export const testIssuer: Promise<TestIssuer> = createTestIssuer({ audience: 'https://orders.example.com' });
      const verifier: Verifier = createVerifier({ issuer: 'https://id.example.com', audience: null });
      export async function subject(header: string | undefined): Promise<string> {
        try {
          const token: AccessToken = await verifier.verify(bearerToken(header), { scope: 'orders:read' });
          return token.sub;
        } catch (error) {
          if (error instanceof VerificationError && error.code === 'expired') return 'expired';
          throw error;
        }
      }
      export const guard = requireToken(verifier);
      // @ts-expect-error: audience is required
      createVerifier({ issuer: 'https://id.example.com' });
      // @ts-expect-error: undefined is not the way out
      createVerifier({ issuer: 'https://id.example.com', audience: undefined });
    `,
    );
    const target = { module: 'nodenext', target: 'es2022', lib: ['es2023', 'dom'], types: [] };
    const compilerOptions = { strict: true, noEmit: true, ...target };
    write('tsconfig.json', JSON.stringify({ compilerOptions, files: ['service.ts'] }));
    expect(execFileSync(process.execPath, [tsc, '-p', service], { encoding: 'utf8' })).toBe('');
  });

  // As a service's developer has them: each on a line of its own in package.json, types among them.
  const names = ['@koa/router', '@types', 'express', 'fastify', 'koa', 'oidc-client-ts'];
  const frameworks = { ...Object.fromEntries(names.map((name) => [name, name])), redis: '@redis/client' };

  test.each(['nodenext', 'node16', 'bundler'])(
    'every documented line compiles under --strict as it is (%s)',
    (resolution) => {
      const project = join(service, `documented-${resolution}`);
      mkdirSync(project);
      for (const [name, from] of Object.entries(frameworks)) {
        if (existsSync(installed(name))) continue;
        mkdirSync(dirname(installed(name)), { recursive: true });
        symlinkSync(join(root, 'node_modules', from), installed(name));
      }
      const blocks = documentedCode(root);
      expect(blocks.length).toBeGreaterThan(10);
      const files = blocks.map((block, at) => {
        const file = `${String(at).padStart(2, '0')}.ts`;
        writeFileSync(join(project, file), `// ${block.where}\n${asModule(block)}`);
        return file;
      });
      writeFileSync(
        join(project, 'package.json'),
        JSON.stringify({ name: 'documented', type: 'module', private: true }),
      );
      const module = resolution === 'bundler' ? 'esnext' : resolution;
      writeFileSync(
        join(project, 'tsconfig.json'),
        JSON.stringify({
          compilerOptions: {
            strict: true,
            noEmit: true,
            module,
            moduleResolution: resolution,
            target: 'es2023',
            skipLibCheck: true,
            lib: ['es2023', 'dom', 'dom.iterable'],
            types: ['node'],
          },
          files,
        }),
      );
      const { stdout } = spawnSync(process.execPath, [tsc, '-p', project], { encoding: 'utf8' });
      expect(stdout).toBe('');
    },
  );
});
