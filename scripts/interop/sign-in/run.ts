// One person signs in through each library, as with a browser: sign-in, userinfo, a refresh, a rotation of keys, a second
// refresh and a second sign-in under the new key, sign-out.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../../test/support/ports.ts';
import { person, secret } from '../../../test/support/signet.ts';
import { authorize, decode, UserAgent } from '../../../test/support/user-agent.ts';
import { untilAnswering } from '../contenders.ts';
import type { Cell, Column } from '../report.ts';
import { type LiveServer, rotate, startLive } from '../server.ts';
import type { Library } from './libraries.ts';

interface Known {
  access_token: string;
  /** Those of the ID token as the library has verified it, or of userinfo, where it mixes them. */
  claims?: Record<string, unknown>;
}

/** Runs them one after the other; what went wrong with one is a cell of its column. */
export async function signInLibraries(libraries: readonly Library[]): Promise<Column[]> {
  const homes: string[] = [];
  for (const _ of libraries) homes.push(`http://localhost:${await freePort()}/`);
  const server = await startLive({
    keys: { jwksMaxAge: '30s', pollEvery: '1s' },
    apis: [{ audience: 'kafka', name: 'Kafka', scopes: { produce: 'Write' } }],
    applications: libraries.map(({ name, service, pkce, callback = 'callback' }, index) => ({
      clientId: `library-${index}`,
      name,
      secret,
      ...(service
        ? { type: 'service', access: { kafka: ['produce'] } }
        : {
            type: 'web',
            firstParty: true,
            pkce: pkce ? 'required' : 'optional',
            redirectUris: [homes[index] + callback],
            postLogoutRedirectUris: [homes[index]],
          }),
    })),
  });
  const columns: Column[] = [];
  try {
    for (const [index, library] of libraries.entries()) {
      columns.push(await tryOne(server, library, `library-${index}`, homes[index]!));
    }
  } finally {
    await server.close();
  }
  return columns;
}

async function tryOne(server: LiveServer, library: Library, clientId: string, home: string): Promise<Column> {
  const { name } = library;
  const column: Column = { name, gaps: {}, versions: undefined, absent: undefined, cells: [] };
  try {
    column.versions = library.prepare();
  } catch (error) {
    const [message = ''] = (error as Error).message.split('\n');
    // A language that is not on this machine is no failure of the library; what cannot be built is.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      note(column, { check: 'all of it', got: message, ok: false });
    else column.absent = message;
    if (column.absent !== undefined) console.log(`${name}: not here: ${column.absent}`);
    return column;
  }
  console.log(`${name}: ${column.versions}`);
  const [command = '', ...args] = library.command;
  const directory = mkdtempSync(join(tmpdir(), 'signet-sign-in-'));
  const env = {
    ...process.env,
    PORT: new URL(home).port,
    ISSUER: server.issuer,
    CLIENT_ID: clientId,
    CLIENT_SECRET: secret,
    PYTHONDONTWRITEBYTECODE: '1',
  };
  const child = spawn(command, args, { cwd: directory, env, stdio: ['ignore', 'ignore', 'pipe'] });
  try {
    const { stop } = await untilAnswering(child, home);
    try {
      await (library.service ? serve : walk)(server, library, home, (check, got, ok) =>
        note(column, { check, got, ok }),
      );
    } finally {
      await stop();
    }
  } catch (error) {
    note(column, { check: 'all of it', got: (error as Error).message, ok: false });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return column;
}

function note(column: Column, cell: Cell): void {
  column.cells.push(cell);
  console.log(`${cell.ok ? '   ' : 'NOT'} ${column.name}: ${cell.check}: ${cell.got}`);
}

/** A service gets a token and verifies it, before and after a rotation. */
async function serve(server: LiveServer, _: Library, home: string, note: Note): Promise<void> {
  for (const check of ['sign-in', 'sign-in after a rotation']) {
    const body = await (await fetch(`${home}token`)).text();
    const { active } = await server.store.keyring.signingKeys();
    const isRight = body.startsWith('{') && decode(JSON.parse(body).access_token).header.kid === active.kid;
    note(check, isRight ? 'yes' : body.slice(0, 300), isRight);
    if (check === 'sign-in') await rotate(server);
  }
}

type Note = (check: string, got: string, ok: boolean) => void;

async function walk(server: LiveServer, library: Library, home: string, note: Note): Promise<void> {
  const { lacks, pkce, callback = 'callback' } = library;
  const subject = (await server.store.accounts.findByEmail(person.email))!.id;
  const [agent, application] = [new UserAgent(server.issuer), new UserAgent(home)];

  /** Of the answer before, so that a refresh that was none is seen. */
  let lastToken: string | undefined;
  const first = await signIn('sign-in');
  const { searchParams } = new URL(first.asked);
  const sent = ['code_challenge', 'nonce', 'state'].filter((name) => searchParams.has(name));
  note('what it sends', sent.join(', '), sent.includes('code_challenge') === pkce && sent.includes('state'));
  await checked('userinfo', async () => sameSubject((await application.request('userinfo')).body));
  await refresh('first refresh');
  const kid = await rotate(server);
  await refresh('refresh after a rotation', kid);
  await signIn('sign-in after a rotation', kid);
  await checked('sign-out', signOut);

  async function checked(check: keyof typeof lacks | 'sign-out', what: () => Promise<string>): Promise<void> {
    if (lacks[check] !== undefined) return note(check, '–', true);
    const [got, ok] = await what().then(
      (got) => [got, true] as const,
      (error: Error) => [error.message, false] as const,
    );
    note(check, got, ok);
  }

  function sameSubject(body: string): string {
    const { sub, user_id: named = sub } = JSON.parse(body);
    if (named !== subject) throw new Error(`sub is ${named}, not ${subject}`);
    return 'yes';
  }

  async function signIn(check: string, wantedKid?: string): Promise<{ asked: string }> {
    const { url: asked, body } = await application.visit('login');
    if (!asked.startsWith(server.issuer)) throw new Error(`/login leads to ${asked}, which says ${body.slice(0, 300)}`);
    const back = await authorize(agent, asked);
    const answer = await application.visit(`${callback}?${back}`);
    note(check, ...judge(answer.body, wantedKid, true));
    return { asked };
  }

  async function refresh(check: string, wantedKid?: string): Promise<void> {
    if (lacks.refresh !== undefined) return note(check, '–', true);
    note(check, ...judge((await application.request('refresh')).body, wantedKid, false));
  }

  /** What the library says that it knows; a refresh need not bring an ID token (OIDC Core §12.2). */
  function judge(body: string, wantedKid: string | undefined, needsClaims: boolean): [string, boolean] {
    if (!body.startsWith('{')) return [body.slice(0, 300), false];
    const { access_token: token, claims } = JSON.parse(body) as Known;
    const { header } = decode(token);
    if (token === lastToken) return ['the access token is still the one before', false];
    lastToken = token;
    if (wantedKid !== undefined && header.kid !== wantedKid)
      return [`signed by ${header.kid}, not ${wantedKid}`, false];
    if (claims === undefined || claims === null) return ['yes, no ID token', !needsClaims];
    const isRight = claims.sub === subject && (!needsClaims || claims.email === person.email);
    return [isRight ? 'yes' : `claims are ${JSON.stringify(claims)}`, isRight];
  }

  /** The session at the issuer is over: whoever signs in again is asked for the password. */
  async function signOut(): Promise<string> {
    const { url } = await application.visit('logout');
    let answer = { url, status: 0, body: '' };
    if (url.startsWith(server.issuer)) answer = await agent.visit(url);
    if (answer.url !== home) throw new Error(`it did not lead back to ${home} but to ${answer.url} (${answer.status})`);
    const page = await agent.visit((await application.visit('login')).url);
    if (!page.body.includes('name="password"')) throw new Error(`the session goes on: ${page.status} ${page.url}`);
    return 'yes';
  }
}
