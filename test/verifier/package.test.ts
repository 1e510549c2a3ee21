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
import { asModule, documentedCode } from './documented.ts';
import { audience, startTestIssuer, type TestIssuer } from './issuer.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const tarball = join(root, 'dist', `signet-${packageJson.version}.tgz`);

describe('the verifier as a package of its own', () => {
  let issuer: TestIssuer;
  let service: string;

  beforeAll(async () => {
    issuer = await startTestIssuer();
    service = mkdtempSync(join(tmpdir(), 'signet-service-'));
    execFileSync(process.execPath, ['scripts/build-package.ts'], { cwd: root });
    writeFileSync(join(service, 'package.json'), JSON.stringify({ name: 'service', type: 'module', private: true }));
    const install = ['install', tarball, '--prefer-offline', '--no-audit', '--no-fund'];
    execFileSync('npm', install, { cwd: service, stdio: 'pipe' });
  });
  afterAll(async () => {
    rmSync(service, { recursive: true, force: true });
    await issuer.close();
  });

  const installed = (path: string) => join(service, 'node_modules', path);
  const write = (name: string, text: string) => writeFileSync(join(service, name), text);

  test('is small, and holds the verifier, the cookie mode and the test kit alone', () => {
    const files = execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' }).trim().split('\n');
    const expected = /^package\/(?:(?:verifier|bff|testing)\/[a-z-]+\.(?:js|d\.ts)|package\.json|README\.md|LICENSE)$/;
    expect(files.filter((file) => !expected.test(file))).toEqual([]);
    for (const entry of ['index', 'koa', 'express', 'fastify']) expect(files).toContain(`package/verifier/${entry}.js`);
    expect(files).toContain('package/LICENSE');
    expect(statSync(tarball).size).toBeLessThan(80_000);
  });

  test('depends on jose and on nothing else', () => {
    const manifest = JSON.parse(readFileSync(installed('signet/package.json'), 'utf8')) as { dependencies: object };
    expect(manifest.dependencies).toEqual({ jose: packageJson.dependencies.jose });
    const lock = JSON.parse(readFileSync(join(service, 'package-lock.json'), 'utf8')) as { packages: object };
    expect(Object.keys(lock.packages).sort()).toEqual(['', 'node_modules/jose', 'node_modules/signet']);
  });

  test('verifies a token in a plain Node process', () => {
    write(
      'service.js',
      `
      import { createVerifier } from 'signet/verifier';
      import { requireToken } from 'signet/verifier/koa';
      import { requireScope } from 'signet/verifier/express';
      import { requireRole } from 'signet/verifier/fastify';
      const [jwks, issuer, audience, jwt, at] = process.argv.slice(2);
      const verifier = createVerifier({ issuer, audience, jwks: JSON.parse(jwks), now: () => Number(at) });
      const { sub } = await verifier.verify(jwt, { scope: 'orders:read' });
      const refused = await verifier.verify(jwt + '=').catch((error) => error.code);
      const guards = [requireToken(verifier), requireScope('a'), requireRole('a')];
      console.log(JSON.stringify([sub, refused, ...guards.map((guard) => typeof guard)]));
    `,
    );
    const jwks = JSON.stringify({ keys: issuer.keys });
    const values = [jwks, issuer.issuer, audience, issuer.token(), String(issuer.clock.now)];
    const said = execFileSync('node', ['service.js', ...values], { cwd: service, encoding: 'utf8' });
    expect(JSON.parse(said)).toEqual(['person-1', 'malformed', 'function', 'function', 'function']);
  });

  test('tests a service in a plain Node process', () => {
    write(
      'service-test.js',
      `
      import { createTestIssuer, forgeries } from 'signet/testing';
      import { createVerifier } from 'signet/verifier';
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
      import { bearerToken, createVerifier, VerificationError } from 'signet/verifier';
      import type { AccessToken, Verifier } from 'signet/verifier';
      import { requireToken } from 'signet/verifier/express';
      import { createTestIssuer, type TestIssuer } from 'signet/testing';
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
  const names = ['@koa/router', '@types', 'express', 'fastify', 'koa', 'oidc-client-ts', 'openid-client'];
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
