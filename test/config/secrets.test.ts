import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { configJsonSchema, loadConfig } from '../../src/config/config.ts';
import { createLog } from '../../src/log.ts';
import { startServer } from '../../src/server.ts';
import { openTerminal, type Terminal } from '../cli/terminal.ts';
import { freePort } from '../support/ports.ts';

interface Schema {
  writeOnly?: boolean;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  items?: Schema;
}

/** Every path that the schema marks as secret; a list is entered at its first item. */
function secretPaths({ writeOnly, properties = {}, additionalProperties: others, items }: Schema): string[][] {
  if (writeOnly) return [[]];
  const inner = Object.entries(properties);
  if (items) inner.push(['0', items]);
  if (typeof others === 'object') inner.push(['x', others]);
  return inner.flatMap(([name, schema]) => secretPaths(schema).map((path) => [name, ...path]));
}

const paths = secretPaths(configJsonSchema() as Schema);
const sentinel = 'hunter2-0123456789-hunter2-0123456789';
const tenant = '72f988bf-86f1-41af-91ab-2d7cd011db47';
const entra = { tenant, clientId: tenant };

/** For each, a configuration that holds the sentinel there, and nothing wrong where that can be. */
const given: Record<string, object> = {
  'database.url': {
    database: { url: `postgres://signet:${sentinel}@127.0.0.1:1/signet?application_name=${sentinel}` },
  },
  'keys.masterKey': { keys: { masterKey: Buffer.from(sentinel.slice(0, 32)).toString('base64') } },
  'revocation.redisUrl': { revocation: { redisUrl: `redis://user:${sentinel}@127.0.0.1:1` } },
  'entra.clientSecret': { entra: { ...entra, clientSecret: sentinel } },
  'entra.passphrase': { entra: { ...entra, certificateFile: 'none.pem', passphrase: sentinel } },
  'entra.secondary.clientSecret': { entra: { ...entra, clientSecret: 'first', secondary: { clientSecret: sentinel } } },
  'entra.secondary.passphrase': {
    entra: { ...entra, clientSecret: 'first', secondary: { certificateFile: 'none.pem', passphrase: sentinel } },
  },
  'entra.proxy': { entra: { ...entra, clientSecret: 'first', proxy: `http://user:${sentinel}@127.0.0.1:1` } },
  'applications.0.secret': { applications: [{ clientId: 'job', name: 'Job', type: 'service', secret: sentinel }] },
  'applications.0.secretSha256': {
    applications: [{ clientId: 'job', name: 'Job', type: 'service', secretSha256: 'd0'.repeat(32) }],
  },
};
const tellTales = [sentinel, sentinel.slice(0, 32), Buffer.from(sentinel.slice(0, 32)).toString('base64'), 'd0d0d0'];

let terminal: Terminal;
beforeAll(async () => {
  terminal = await openTerminal();
});
afterAll(() => terminal.leave());

test('each setting that the schema calls a secret is looked at here', () => {
  expect(paths.map((path) => path.join('.')).sort()).toEqual(Object.keys(given).sort());
});

test.each(Object.entries(given))('%s is shown by no config check', async (_path, values) => {
  await terminal.write('signet.yaml', stringify(values));
  for (const words of ['config check', 'config check --json']) {
    const { exitCode, out, err } = await terminal.signet(words);
    expect(err).toBe('');
    expect(exitCode).toBe(0);
    for (const told of tellTales) expect(out).not.toContain(told);
    expect(out).toMatch(/\(set, not shown\)|:…@/);
  }
});

test('a password of Redis without its colon would be a user name, and be shown: it is refused unsaid', async () => {
  await terminal.write('signet.yaml', stringify({ revocation: { redisUrl: `redis://${sentinel}@127.0.0.1:1` } }));
  const { exitCode, out, err } = await terminal.signet('config check');
  expect([exitCode, out]).toEqual([2, '']);
  expect(err).toContain('redis://:password@host:6379');
  expect(err).not.toContain(sentinel);
});

test.each(paths.map((path) => [path.join('.'), path] as const))(
  '%s is in no problem that is told of it',
  async (_name, path) => {
    const wrong = path.reduceRight<unknown>((inner, step) => (step === '0' ? [inner] : { [step]: inner }), {
      [sentinel]: 5,
    });
    for (const values of [
      wrong,
      JSON.parse(JSON.stringify(wrong).replace(`{"${sentinel}":5}`, `"\\u0000 ${sentinel}"`)),
    ]) {
      await terminal.write('signet.yaml', stringify(values));
      for (const words of ['config check', 'config check --json', 'accounts list', 'serve']) {
        const { exitCode, out, err } = await terminal.signet(words);
        expect(exitCode).not.toBe(0);
        for (const told of tellTales) expect(out + err).not.toContain(told);
      }
    }
  },
);

test.each(Object.entries(given))('%s is in no line that a start logs, at level debug', async (_path, values) => {
  const lines: string[] = [];
  const port = await freePort();
  const config = loadConfig({
    env: {},
    cwd: terminal.directory,
    values: { listen: { port }, keys: { modulusLength: 2048 }, ...values, issuer: `http://localhost:${port}` },
  });
  const server = await startServer(
    config,
    createLog('debug', (line) => lines.push(line)),
  ).catch((error: Error) => {
    lines.push(`${error.message} ${error.cause}`);
    return undefined;
  });
  await server?.close();
  for (const told of tellTales) expect(lines.join('\n')).not.toContain(told);
});
