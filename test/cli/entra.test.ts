import { Agent } from 'undici';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type EntraSim, startEntraSim } from '../../entra-sim/index.ts';
import { run } from '../../src/cli/run.ts';
import { createVisitor } from '../entra-sim/visitor.ts';
import { type EntraWorld, startEntraWorld } from '../support/entra.ts';
import { freePort } from '../support/ports.ts';
import { openTerminal, type Terminal } from './terminal.ts';

const clerks = 'c1e4c500-0000-4000-8000-000000000001';

describe('roles of people from Microsoft', () => {
  let world: EntraWorld;
  let terminal: Terminal;
  beforeAll(async () => {
    const roles = { appRoles: { Reader: ['reader'], Boss: ['approver'] }, groups: { [clerks]: ['clerk'] } };
    world = await startEntraWorld({ entra: { roles } });
    const users = world.sim.tenant('contoso');
    users.addUser('clara', { groups: [clerks], roles: ['Reader'] });
    users.addUser('rita', { roles: ['Reader'] });
    for (const who of ['clara', 'rita']) await world.signIn(who);
    terminal = await openTerminal({ directory: world.server.directory });
    const { tenant, clientId } = world.server.config.entra!;
    await terminal.write(
      'signet.yaml',
      JSON.stringify({
        issuer: world.server.issuer,
        database: { url: world.server.config.database.url },
        entra: { tenant, clientId, clientSecret: 'not used by these commands', roles },
      }),
    );
  });
  afterAll(() => world.close());

  test('explain says of each role whether, and why', async () => {
    const { out, exitCode } = await terminal.signet('roles explain clara@contoso.example');
    expect(exitCode).toBe(0);
    expect(out).toMatch(/approver +no +does not have the app role Boss/);
    expect(out).toMatch(new RegExp(`clerk +yes +is in the group ${clerks}`));
    expect(out).toMatch(/reader +yes +has the app role Reader/);
  });

  test('explain of somebody with a password, and of nobody', async () => {
    const local = await terminal.signet('roles explain ada@example.com --json');
    expect(local.document.roles).toContainEqual({
      role: 'buyer',
      has: true,
      because: ['given here by an administrator'],
    });
    expect(local.document.roles).toContainEqual({
      role: 'clerk',
      has: false,
      because: ['has never signed in with Microsoft'],
    });
    expect((await terminal.signet('roles explain nobody@example.com')).exitCode).not.toBe(0);
  });

  test('dry-run shows who would gain or lose what, and changes nothing', async () => {
    await terminal.write('new.yaml', `appRoles: { Reader: [reader, auditor] }\ngroups: {}\n`);
    const { document } = await terminal.signet('roles dry-run new.yaml --json');
    expect(document.people).toBe(2);
    expect(document.changes.map(({ account, ...change }: any) => ({ name: account.name, ...change }))).toEqual([
      { name: 'clara@contoso.example', gains: ['auditor'], loses: ['clerk'] },
      { name: 'rita@contoso.example', gains: ['auditor'], loses: [] },
    ]);
    const { out } = await terminal.signet('roles dry-run new.yaml');
    expect(out).toContain('2 of 2 would change. Nothing was applied');
    const [clara] = await world.server.store.accounts.listByEmail('clara@contoso.example');
    expect(clara!.roles).toEqual(['clerk', 'reader']);
  });

  test('dry-run of a file that is no mapping says what is wrong with it', async () => {
    await terminal.write(
      'everywhere.yaml',
      'tenants: { c0117050-0000-4000-8000-000000000001: { appRoles: { Reader: [reader] } } }\n',
    );
    expect((await terminal.signet('roles dry-run everywhere.yaml')).err).toContain(
      'everywhere.yaml:1 tenants: is for several',
    );
    await terminal.write('wrong.yaml', 'appRoles: { Reader: reader }\ngroups: { Clerks: [clerk] }\n');
    const { err, exitCode } = await terminal.signet('roles dry-run wrong.yaml');
    expect(exitCode).not.toBe(0);
    expect(err).toContain('must be a list');
    expect(err).toContain('GUID');
  });

  test('several people with one address are told apart by id, and the one with a password is meant', async () => {
    const twins = [world.sim.tenant('contoso').addUser('twin1'), world.sim.tenant('contoso').addUser('twin2')];
    for (const twin of twins) twin.email('twin@contoso.example');
    for (const twin of twins) await world.signIn(twin);
    const { err } = await terminal.signet('accounts disable twin@contoso.example');
    expect(err).toMatch(/2 people have the address.*\n.*[\da-f-]{36}, [\da-f-]{36}/);
    await terminal.signet('accounts add twin@contoso.example');
    const { document } = await terminal.signet('accounts disable twin@contoso.example --json');
    expect(document.account).toMatchObject({ signsInByEmail: true, emailVerified: true });
  });
});

describe('signet entra check', () => {
  let sim: EntraSim;
  let terminal: Terminal;
  let port: number;
  beforeAll(async () => {
    port = await freePort();
    sim = await startEntraSim();
    sim.app.addRedirectUri(`http://localhost:${port}/sign-in/entra/callback`);
    sim.app.claims('email', 'xms_edov', 'login_hint', 'sid', 'acct');
    terminal = await openTerminal();
    await terminal.write(
      'signet.yaml',
      JSON.stringify({
        entra: { tenant: sim.app.home.id, clientId: sim.app.clientId, clientSecret: sim.app.secret },
      }),
    );
  });
  afterAll(async () => {
    await terminal.leave();
    await sim.close();
  });

  /** Runs the command; `person` does what the note on standard error says. */
  async function check(words: string, person: (url: string) => Promise<void>) {
    const dispatcher = new Agent({ connect: sim.connector() });
    let [out, err] = ['', ''];
    let acting: Promise<void> | undefined;
    const exitCode = await run(`entra check --port ${port} ${words}`.split(' ').filter(Boolean), {
      out: (text) => {
        out += text;
      },
      err: (text) => {
        err += text;
        const url = /^https:\S+$/m.exec(err)?.[0];
        if (url) acting ??= person(url);
      },
      readInput: async () => '',
      userName: 'tester',
      untilStopped: async () => {},
      env: {},
      cwd: terminal.directory,
      dispatcher,
    });
    await acting;
    await dispatcher.close();
    return { out, err, exitCode };
  }

  const signingInAs = (whom: string) => async (url: string) => {
    const visitor = createVisitor(sim);
    sim.signInAs(whom);
    const given = await visitor.callback(url);
    await fetch(`http://localhost:${port}/sign-in/entra/callback?${given}`);
    await visitor.close();
  };

  test('answers the nine questions, and names nobody', async () => {
    const { out, err, exitCode } = await check('--context c1 --json', signingInAs('alice'));
    expect([exitCode, err]).toEqual([0, expect.stringContaining(`http://localhost:${port}/sign-in/entra/callback`)]);
    const { findings } = JSON.parse(out);
    expect(findings.map(({ number, seen }: any) => [number, seen])).toEqual([
      [1, expect.stringMatching(/^yes .*invalid_client AADSTS7000215/)],
      [2, 'yes'],
      [3, 'acrs is an array and holds c1'],
      [4, 'auth_time is a number; exp is auth_time + max_age'],
      [5, 'a boolean'],
      [6, 'yes; no refresh token came'],
      [7, 'none: this person is in few groups'],
      [8, expect.stringContaining('not tried')],
      [9, expect.stringMatching(/^\d+ characters$/)],
    ]);
    const { upn, oid, mail, name, tenant } = sim.user('alice');
    for (const personal of [upn, oid, mail!, name, tenant.id, sim.app.secret]) expect(out).not.toContain(personal);
  });

  test('says where the groups of somebody in too many would be', async () => {
    const { out } = await check('', signingInAs('olivia'));
    expect(out).toMatch(/7 +Which host does _claim_sources name\? +graph\.windows\.net/);
  });

  test('says which refusal came back', async () => {
    const { out } = await check('', async (url) => {
      sim.nextCallback({ error: 'access_denied', errorSubcode: 'cancel' });
      await signingInAs('alice')(url);
    });
    expect(out).toMatch(/8 .*error=access_denied, error_subcode=cancel/);
  });

  test('needs a configuration of Microsoft', async () => {
    const bare = await openTerminal();
    const { err, exitCode } = await bare.signet('entra check');
    expect([exitCode, err]).toEqual([2, expect.stringContaining('there is no entra section')]);
    await bare.leave();
  });
});
