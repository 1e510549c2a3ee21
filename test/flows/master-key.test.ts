// What an operator does with the master key, as docs/keys.md says it: the commands are read from there.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { startEntraSim } from '../../entra-sim/index.ts';
import { createVerifier } from '../../src/verifier/index.ts';
import { openTerminal, type Terminal } from '../cli/terminal.ts';
import { startEntraWorld } from '../support/entra.ts';
import { freePort } from '../support/ports.ts';
import { nextKey, rotateKeys } from '../support/rotation.ts';
import { ordersApi, person, startSignet, type TestServer } from '../support/signet.ts';

import {
  asClient,
  authorizationRequest,
  decode,
  redemption,
  signIn,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';

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
  const server = await startSignet({
    directory,
    values: { listen: { port, host: '127.0.0.1' }, tokens: { refreshGrace: '60s' }, keys },
  });
  onTestFinished(() => server.close());
  return server;
}

/** The commands in the first shell block after `heading`, without their remarks. */
function commandsUnder(heading: string): string[] {
  const [, block] = /```sh\n([\s\S]+?)```/.exec(guide.slice(guide.indexOf(heading)))!;
  return block!
    .split('\n')
    .map((line) => line.replace(/\s+# .*/, ''))
    .filter((line) => line !== '');
}

/** What a shell makes of words and quotes. */
const wordsOf = (command: string) =>
  [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);

const refresh = ({ issuer }: Pick<TestServer, 'issuer'>, refreshToken: string) =>
  tokenRequest(issuer, { grant_type: 'refresh_token', refresh_token: refreshToken });

describe('the master key is moved', () => {
  const makeNew = /`(\(umask 077; [^`]+)`/.exec(guide.slice(guide.indexOf('## Moving the master key')))![1]!;
  const [older, newer] = ['keys/master.key', 'keys/master.new'];
  const both = { masterKeyFile: newer, previousMasterKeyFile: older };

  /** Whether the browser comes back from the issuer with a code, nobody asked. */
  async function isSignedIn({ issuer }: TestServer, agent: UserAgent): Promise<boolean> {
    const { url } = await agent.visit(authorizationRequest(issuer, { prompt: 'none' }).url);
    return new URL(url).searchParams.has('code');
  }

  test('nobody notices: a sign-in under way, a session, a refresh token and an answer given again go on', async () => {
    const before = await start();
    const { agent, tokens } = await signIn(before.issuer, { parameters: { resource: ordersApi } });
    const { body: renewed } = await refresh(before, tokens.refresh_token);
    const late = new UserAgent(before.issuer);
    const request = authorizationRequest(before.issuer);
    const page = await late.visit(request.url);
    const { version } = await before.store.keyring.signingKeys();
    await before.close();

    await inShell('sh', ['-c', makeNew], { cwd: directory });
    expect((await stat(join(directory, newer))).mode & 0o777).toBe(0o600);
    const meanwhile = await start(both);
    const { url } = await late.submit(page, person);
    const code = new URL(url).searchParams.get('code')!;
    expect((await tokenRequest(meanwhile.issuer, redemption(request, code))).status).toBe(200);
    expect(await isSignedIn(meanwhile, agent)).toBe(true);
    expect((await refresh(meanwhile, tokens.refresh_token)).body).toEqual(renewed);
    const { body: again } = await refresh(meanwhile, renewed.refresh_token);
    const { exitCode, out } = await terminal.signet('keys rekey', {
      env: { SIGNET_KEYS_MASTER_KEY_FILE: newer, SIGNET_KEYS_PREVIOUS_MASTER_KEY_FILE: older },
    });
    expect([exitCode, out]).toEqual([0, expect.stringMatching(/^2 keys are sealed anew; when every server /)]);
    await meanwhile.close();

    await expect(start()).rejects.toMatchObject({ code: 'master_key_wrong' });
    await rm(join(directory, older));
    const after = await start({ masterKeyFile: newer });
    expect((await after.store.keyring.signingKeys()).version).toBe(version);
    expect(await isSignedIn(after, agent)).toBe(true);
    expect((await refresh(after, renewed.refresh_token)).body).toEqual(again);
    expect((await refresh(after, again.refresh_token)).status).toBe(200);
    const verifier = createVerifier({ issuer: after.issuer, audience: ordersApi });
    onTestFinished(() => verifier.close());
    await verifier.verify(tokens.access_token);
  });

  test('replicas are moved one after the other: what one gives the other takes, in both directions', async () => {
    await (await start()).close();
    await inShell('sh', ['-c', makeNew], { cwd: directory });
    const first = await start({ masterKeyFile: older, previousMasterKeyFile: newer });
    const second = await startSignet({
      directory,
      values: {
        issuer: first.issuer,
        listen: { port: await freePort(), host: '127.0.0.1' },
        keys: both,
      },
    });
    onTestFinished(() => second.close());

    for (const [here, there] of [
      [first, second],
      [second, first],
    ] as const) {
      const agent = new UserAgent(first.issuer, here.url);
      const request = authorizationRequest(first.issuer);
      const page = await agent.visit(request.url);
      agent.listening = there.url;
      const code = new URL((await agent.submit(page, person)).url).searchParams.get('code')!;
      const { body } = await tokenRequest(here.url, redemption(request, code));
      const { body: renewed } = await refresh({ issuer: there.url }, body.refresh_token);
      expect(renewed).toMatchObject({ refresh_token: expect.any(String) });
      expect((await refresh({ issuer: here.url }, body.refresh_token)).body).toEqual(renewed);
    }
    // Sealed under the new one by the second, and taken up by the first, which seals under the old one.
    await second.store.keyring.rekey();
    await rotateKeys({ issuer: first.issuer, store: second.store });
    const { body } = await tokenRequest(first.issuer, { grant_type: 'client_credentials' }, asClient('service'));
    expect(body).toMatchObject({ access_token: expect.any(String) });
  });
});

describe('the master key is lost', () => {
  const [makeOne, giveUp, ...more] = commandsUnder('**The master key is lost.**');

  test('the guide has two commands', () => {
    expect([makeOne, giveUp, more]).toEqual([
      expect.stringContaining('openssl rand -base64 32'),
      expect.stringMatching(/^signet keys retire <kid> --force/),
      [],
    ]);
  });

  test('after them the server starts and signs anew, and neither tokens nor refresh tokens are lost', async () => {
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
    await expect(start()).rejects.toMatchObject({
      code: 'master_key_missing',
      hint: expect.stringContaining('(umask 077; openssl rand -base64 32 > '),
    });
    await inShell('sh', ['-c', makeOne!], { cwd: directory });
    const untouched = [await states(), await trail()];
    await expect(start()).rejects.toMatchObject({
      code: 'master_key_wrong',
      hint: expect.stringContaining(giveUp!.replace('<kid>', lost)),
    });
    expect([await states(), await trail()]).toEqual(untouched);

    const said = await terminal.signet(wordsOf(giveUp!.replace('<kid>', lost)).slice(1));
    expect({ exitCode: said.exitCode, err: said.err }).toEqual({ exitCode: 0, err: '' });
    expect(said.out).toMatch(
      new RegExp(
        `^key ${lost} is retired: what it signed is still accepted; [\\w-]{43} signs\n` +
          'The prepared key [\\w-]{43} does not open under this master key, and is revoked as well\\.\n',
      ),
    );

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
    const all = (await after.store.keyring.list()).map(({ state }) => state);
    expect(all.sort()).toEqual(['active', 'prepared', 'retired', 'revoked']);
  });

  test('whoever came from Microsoft, whom nobody can ask about any more, signs in once more', async () => {
    const sim = await startEntraSim();
    onTestFinished(() => sim.close());
    const open = () => startEntraWorld({ sim, directory, values: { listen: { port, host: '127.0.0.1' } } });
    const before = await open();
    const { tokens } = await before.signIn('contoso/alice');
    await before.close();
    await rm(join(directory, 'keys/master.key'));
    await inShell('sh', ['-c', makeOne!], { cwd: directory });
    await terminal.signet(wordsOf(giveUp!.replace('<kid>', decode(tokens.id_token).header.kid)).slice(1));

    const after = await open();
    onTestFinished(() => after.close());
    const { status, body } = await after.refresh(tokens.refresh_token);
    expect([status, body.error]).toEqual([400, 'invalid_grant']);
    const again = await after.signIn('contoso/alice');
    expect((await after.refresh(again.tokens.refresh_token)).status).toBe(200);
  });

  test('whoever gives up the prepared key first is told what is left to do', async () => {
    const before = await start();
    const [active, prepared] = (await before.store.keyring.signingKeys()).published.map(({ kid }) => kid);
    await before.close();
    await rm(join(directory, 'keys/master.key'));
    await inShell('sh', ['-c', makeOne!], { cwd: directory });
    const revoke = ['keys', 'revoke', prepared!, '--force', '--reason', 'lost'];
    const { exitCode, out } = await terminal.signet(revoke);
    expect([exitCode, out]).toEqual([
      0,
      `key ${prepared} is revoked. Nothing signs: the master key does not open the ` +
        `active key. Give that up as well:\nsignet keys retire ${active} --force --reason "…"\n`,
    ]);
    await terminal.signet(wordsOf(giveUp!.replace('<kid>', active!)).slice(1));
    await start();
  });
});
