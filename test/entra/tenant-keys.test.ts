import { Agent } from 'undici';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type EntraSim, startEntraSim } from '../../entra-sim/index.ts';
import { createNetwork } from '../../src/entra/network.ts';
import { createTenantKeys } from '../../src/entra/tenant-keys.ts';
import { silentLog } from '../../src/log.ts';
import { type Rig, startRig } from './rig.ts';

let sim: EntraSim;
let rig: Rig;
beforeAll(async () => {
  sim = await startEntraSim();
});
afterAll(() => sim.close());
beforeEach(async () => {
  sim.reset();
  sim.signInAs('alice');
  rig = await startRig(sim);
  return () => rig.close();
});

const fetches = () => sim.requests('keys').length;
/** Signs in, some seconds after the last time: the simulator's clock goes along. */
const later = async (seconds: number) => {
  rig.clock.advance(seconds);
  sim.clock.skew((rig.clock.now() - Date.now()) / 1000);
  return rig.signIn();
};
const settled = () => expect.poll(fetches);

describe('E18 the keys of Entra', () => {
  test('are those of the tenant, fetched when first needed and then hourly, behind a sign-in', async () => {
    expect(fetches()).toBe(0);
    await rig.identify();
    await later(3590);
    expect(fetches()).toBe(1);
    expect(sim.requests('keys')[0]!.url).toBe(`/${sim.tenant('contoso').id}/discovery/v2.0/keys`);
    sim.fault('keys', { delayMs: 300, times: 1 });
    await later(20);
    expect(rig.completed).toHaveLength(3);
    await settled().toBe(2);
  });

  test('of an application with keys of its own are asked for by its name', async () => {
    const own = await startRig(sim, { config: { customSigningKeys: true } });
    await own.identify();
    expect(sim.requests('keys').at(-1)!.query.get('appid')).toBe(sim.app.clientId);
    await own.close();
  });

  test('roll over in the middle of everything: the new key is looked for when a token names it', async () => {
    await rig.identify();
    await sim.keys.rotate();
    await rig.identify();
    expect(fetches()).toBe(2);
    await rig.identify();
    expect(fetches()).toBe(2);
  });

  test('that are unknown are looked for once in thirty seconds, however many tokens name one', async () => {
    await rig.identify();
    sim.nextIdToken({ sign: 'rogue-kid', times: 30 });
    await rig.signIn();
    expect(rig.failures.at(-1)).toMatchObject({ failure: 'forged', facts: { reason: 'unknown_key' } });
    for (let at = 0; at < 10; at += 1) await rig.signIn();
    expect(fetches()).toBe(2);
    expect(rig.failures.at(-1)).toMatchObject({ failure: 'transient', facts: { reason: 'keys_unavailable' } });
    await later(31);
    expect(fetches()).toBe(3);
    expect(rig.completed).toHaveLength(1);
  });

  test('that are known stay good for a day while the endpoint fails, and not longer', async () => {
    await rig.identify();
    const lift = sim.fault('keys', { status: 503 });
    await later(23 * 3600);
    expect(rig.completed).toHaveLength(2);
    await settled().toBe(2);
    await later(3600 + 60);
    expect(rig.completed).toHaveLength(2);
    expect(rig.failures.at(-1)).toMatchObject({ failure: 'transient' });
    lift();
    await later(10);
    expect(rig.completed).toHaveLength(3);
  });

  test('of an emergency rollover: a key taken away is refused within the hour, or at once when told', async () => {
    await rig.identify();
    const stolen = sim.keys.active;
    const forge = () => sim.nextIdToken({ sign: stolen });
    await sim.keys.rotate();
    sim.keys.revoke(stolen.kid);
    forge();
    await rig.signIn();
    expect(rig.completed).toHaveLength(2); // what is known is good for an hour
    await later(3700);
    await settled().toBe(2);
    forge();
    await later(31);
    expect(rig.completed).toHaveLength(3);
    expect(rig.failures.at(-1)).toMatchObject({ facts: { reason: 'unknown_key' } });

    sim.clock.skew(0);
    const told = await startRig(sim);
    await told.identify();
    const also = sim.keys.active;
    await sim.keys.rotate();
    sim.keys.revoke(also.kid);
    told.connector.invalidateKeys();
    sim.nextIdToken({ sign: also });
    await told.signIn();
    expect(told.completed).toHaveLength(1);
    await told.close();
  });

  test('that are forgotten on their way are asked for again: that answer may hold the stolen one', async () => {
    const published = () => sim.keys.jwks('login.microsoftonline.com', sim.tenant('contoso').id);
    const [before, stolen] = [published(), sim.keys.active.kid];
    await sim.keys.rotate();
    sim.keys.revoke(stolen);
    const after = published();
    for (const endOfTheFirst of ['answered', 'lost'] as const) {
      const answers = [Promise.withResolvers<{ keys: unknown[] }>(), Promise.withResolvers<{ keys: unknown[] }>()];
      let asked = 0;
      const keys = createTenantKeys({ log: silentLog, load: () => answers[Math.min(asked++, 1)]!.promise });
      const found = Promise.all([stolen, sim.keys.active.kid].map((kid) => keys.find(kid)));
      keys.invalidate();
      const [old, next] = answers;
      if (endOfTheFirst === 'answered') old!.resolve(before);
      else old!.reject(new Error('reset'));
      await expect.poll(() => asked).toBe(2);
      next!.resolve(after);
      expect(await found, endOfTheFirst).toEqual([undefined, expect.objectContaining({ key: expect.anything() })]);
    }
  });

  test.each([
    ['an error', { status: 503 }],
    ['a page', { body: '<html>proxy</html>' }],
    ['nothing', { body: '' }],
    ['no keys', { body: { keys: [] } }],
    ['keys that are no list', { body: { keys: 'x' } }],
    ['a redirect', { redirectTo: 'https://attacker.example/keys' }],
    ['a reset connection', { reset: 'after-read' as const }],
  ])('that cannot be had (%s) let nobody in, and are asked for again soon', async (_name, fault) => {
    const lift = sim.fault('keys', fault);
    await rig.signIn();
    expect(rig.completed).toEqual([]);
    expect(rig.failures.at(-1)).toMatchObject({ failure: 'transient', facts: { reason: 'keys_unavailable' } });
    expect(sim.requests('attacker')).toEqual([]);
    lift();
    await later(6);
    expect(rig.completed).toHaveLength(1);
  });

  test('at an endpoint that hangs are waited for until the deadline; those that are known, by nobody', async () => {
    const { id, loginHost } = sim.tenant('contoso');
    const { kid } = sim.keys.active;
    const dispatcher = new Agent({ connect: sim.connector() });
    const network = createNetwork({ hosts: [loginHost], dispatcher, timeoutMs: 400, log: silentLog });
    let ahead = 0;
    const keys = createTenantKeys({
      load: async () => {
        const url = `https://${loginHost}/${id}/discovery/v2.0/keys`;
        return (await network.request({ method: 'GET', url })).document;
      },
      log: silentLog,
      now: () => Date.now() + ahead,
    });
    for (const hang of ['before-headers', 'after-headers'] as const) {
      const lift = sim.fault('keys', { hang });
      await expect(keys.find(kid)).rejects.toThrow('not available');
      lift();
      ahead += 6_000;
    }
    expect(await keys.find(kid)).toBeDefined();

    sim.fault('keys', { hang: 'before-headers' });
    ahead += 2 * 3_600_000;
    const asked = fetches();
    expect(await keys.find(kid)).toBeDefined();
    await settled().toBe(asked + 1); // behind the answer, which has not come and never will
    expect(await keys.find(kid)).toBeDefined();
    await dispatcher.destroy();
  });

  test('may be a thousand', async () => {
    sim.keys.add(1000);
    await rig.identify();
  });

  test('beside which there are others of no use: elliptic curves, encryption', async () => {
    sim.keys.addEc();
    sim.keys.addEncryption();
    await rig.identify();
  });

  test.each([
    ['twice under one name', () => sim.keys.duplicateKid()],
    ['for encryption', () => sim.keys.addEncryption({ sameKid: true })],
    ['as an elliptic curve', () => sim.keys.revoke(sim.keys.active.kid)],
  ])('that are published %s verify nothing', async (name, publish) => {
    publish();
    if (name.includes('curve')) sim.keys.addEc({ sameKid: true });
    await rig.signIn();
    expect(rig.completed).toEqual([]);
  });
});
