// What an operator does with the master key, as docs/keys.md says it: the commands are read from there.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createVerifier } from '../../src/verifier/index.ts';
import { openTerminal, type Terminal } from '../cli/terminal.ts';
import { freePort } from '../support/ports.ts';
import { nextKey } from '../support/rotation.ts';
import { ordersApi, startSignet, type TestServer } from '../support/signet.ts';
import { decode, signIn, tokenRequest } from '../support/user-agent.ts';

const guide = await readFile(new URL('../../docs/keys.md', import.meta.url), 'utf8');
const inShell = promisify(execFile);

let directory: string;
let port: number;
let terminal: Terminal;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'signet-master-key-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  port = await freePort();
  terminal = await openTerminal({ directory, env: { SIGNET_ISSUER: `http://localhost:${port}` } });
});

/** The same server again: its directory, its address. Stopped when the test ends, at the latest. */
async function start(keys: Record<string, unknown> = {}): Promise<TestServer> {
  const server = await startSignet({ directory, values: { listen: { port, host: '127.0.0.1' }, keys } });
  onTestFinished(() => server.close());
  return server;
}

/** The commands in the first shell block after `heading`, without their remarks. */
function commandsUnder(heading: string): string[] {
  const [, block] = /```sh\n([^]+?)```/.exec(guide.slice(guide.indexOf(heading)))!;
  return block!.split('\n').map((line) => line.replace(/\s+# .*/, '')).filter((line) => line !== '');
}

/** What a shell makes of words and quotes. */
const wordsOf = (command: string) => [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);

const refresh = ({ issuer }: TestServer, refreshToken: string) =>
  tokenRequest(issuer, { grant_type: 'refresh_token', refresh_token: refreshToken });

describe('the master key is lost', () => {
  const [makeOne, giveUp, ...more] = commandsUnder('**The master key is lost.**');

  test('the guide has two commands', () => {
    expect([makeOne, giveUp, more]).toEqual([
      expect.stringContaining('openssl rand -base64 32'), expect.stringMatching(/^signet keys retire <kid> --force/), []]);
  });

  test('after them the server starts, signs anew, and neither tokens nor refresh tokens of before are lost', async () => {
    const before = await start();
    const { tokens } = await signIn(before.issuer, { parameters: { resource: ordersApi } });
    const { kid: lost } = decode(tokens.access_token).header;
    await before.close();
    await rm(join(directory, 'keys/master.key'));

    const trail = async () => (await terminal.signet('audit list --limit 1000 --json')).document;
    const states = async () => {
      const { keys } = (await terminal.signet('keys list --json')).document;
      return Object.fromEntries(keys.map(({ kid, state }: any) => [kid, state]));
    };
    await expect(start()).rejects.toMatchObject({ code: 'master_key_missing', hint: expect.stringContaining('openssl rand') });
    await inShell('sh', ['-c', makeOne!], { cwd: directory });
    const untouched = [await states(), await trail()];
    const refused = await start().catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'master_key_wrong', hint: expect.stringContaining(giveUp!.replace('<kid>', lost)) });
    expect([await states(), await trail()]).toEqual(untouched);

    const said = await terminal.signet(wordsOf(giveUp!.replace('<kid>', lost)).slice(1));
    expect({ exitCode: said.exitCode, err: said.err }).toEqual({ exitCode: 0, err: '' });
    expect(said.out).toMatch(new RegExp(`^key ${lost} is retired: what it signed is still accepted; [\\w-]{43} signs\n`
      + 'The prepared key [\\w-]{43} does not open under this master key, and is revoked as well\\.\n'));

    const after = await start();
    const verifier = createVerifier({ issuer: after.issuer, audience: ordersApi });
    onTestFinished(() => verifier.close());
    await verifier.verify(tokens.access_token);
    const { status, body } = await refresh(after, tokens.refresh_token);
    expect(status).toBe(200);
    await verifier.verify(body.access_token);
    expect(decode(body.access_token).header.kid).not.toBe(lost);
    expect(await after.store.audit.verify()).toMatchObject({ ok: true });
    await nextKey(after.store.keyring);
    expect((await after.store.keyring.list()).map(({ state }) => state).sort()).toEqual(['active', 'prepared', 'retired', 'revoked']);
  });

  test('whoever gives up the prepared key first is told what is left to do', async () => {
    const before = await start();
    const [active, prepared] = (await before.store.keyring.signingKeys()).published.map(({ kid }) => kid);
    await before.close();
    await rm(join(directory, 'keys/master.key'));
    await inShell('sh', ['-c', makeOne!], { cwd: directory });
    const revoke = ['keys', 'revoke', prepared!, '--force', '--reason', 'lost'];
    const { exitCode, out } = await terminal.signet(revoke);
    expect([exitCode, out]).toEqual([0, `key ${prepared} is revoked. Nothing signs: the master key does not open the active `
      + `key. Give that up as well:\nsignet keys retire ${active} --force --reason "…"\n`]);
    await terminal.signet(wordsOf(giveUp!.replace('<kid>', active!)).slice(1));
    await start();
  });
});
