// The proxy, as a client meets it that knows of nothing else.

import { fetch, ProxyAgent } from 'undici';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { EntraSim } from '../../entra-sim/index.ts';
import { startEntraSim } from '../../entra-sim/index.ts';

let sim: EntraSim;

beforeAll(async () => {
  sim = await startEntraSim();
});
afterAll(() => sim.close());
beforeEach(() => sim.reset());

const keysUrl = 'https://login.microsoftonline.com/common/discovery/v2.0/keys';

async function through(url: string, target: string): Promise<number> {
  const dispatcher = new ProxyAgent({ uri: url, requestTls: { ca: sim.ca } });
  try {
    return (await fetch(target, { dispatcher })).status;
  } finally {
    await dispatcher.destroy();
  }
}

test('leads production host names to the simulator, with their certificate checked', async () => {
  const proxy = await sim.startProxy();
  expect(await through(proxy.url, keysUrl)).toBe(200);
  expect(proxy.asked).toEqual(['login.microsoftonline.com:443']);
  expect(sim.requests('keys')).toMatchObject([{ host: 'login.microsoftonline.com', status: 200 }]);
  await sim.tls('expired');
  await expect(through(proxy.url, keysUrl)).rejects.toMatchObject({ cause: { code: 'CERT_HAS_EXPIRED' } });
});

test('tunnels to nobody else', async () => {
  const proxy = await sim.startProxy();
  await expect(through(proxy.url, 'https://www.example.com/')).rejects.toThrow();
  expect(proxy.asked).toEqual(['www.example.com:443']);
});

test('can ask for credentials', async () => {
  const proxy = await sim.startProxy({ credentials: 'signet:pass' });
  expect(await through(proxy.url, keysUrl)).toBe(200);
  await expect(through(proxy.url.replace('pass', 'wrong'), keysUrl)).rejects.toThrow();
});

test('passes a reset on', async () => {
  const proxy = await sim.startProxy();
  sim.fault('keys', { reset: 'after-read' });
  const cause = { code: expect.stringMatching(/ECONNRESET|UND_ERR_SOCKET/) };
  await expect(through(proxy.url, keysUrl)).rejects.toMatchObject({ cause });
});
