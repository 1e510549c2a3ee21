// The simulator as a process, with its account picker: `npx node entra-sim/main.ts [--port 8443] [--directory …]
// [--redirect-uri …] [--front-channel-logout-url …]`. Prints one line of JSON when it is ready; ends on SIGTERM.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { startEntraSim } from './index.ts';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    directory: { type: 'string' },
    'client-id': { type: 'string' },
    'client-secret': { type: 'string' },
    'redirect-uri': { type: 'string', multiple: true, default: [] },
    'front-channel-logout-url': { type: 'string' },
  },
});

const temporary = values.directory === undefined ? await mkdtemp(join(tmpdir(), 'entra-sim-')) : undefined;
const directory = values.directory ?? temporary!;
const sim = await startEntraSim({
  port: Number(values.port),
  directory,
  app: {
    clientId: values['client-id'],
    secret: values['client-secret'],
    redirectUris: values['redirect-uri'],
    frontChannelLogoutUrl: values['front-channel-logout-url'],
    optionalClaims: ['email', 'xms_edov', 'login_hint', 'sid', 'acct', 'given_name', 'family_name'],
  },
});
const proxy = await sim.startProxy();
const caPath = join(directory, 'entra-sim-ca.pem');
await writeFile(caPath, sim.ca);

// Before the line that tells a parent it may begin, and so may also end.
const end = async () => {
  await sim.close();
  if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
};
process.once('SIGTERM', end);
process.once('SIGINT', end);

process.stdout.write(
  `${JSON.stringify({
    port: sim.port,
    caPath,
    proxyUrl: proxy.url,
    chromiumArgs: sim.chromiumArgs(),
    tenantId: sim.app.home.id,
    clientId: sim.app.clientId,
    clientSecret: sim.app.secret,
  })}\n`,
);
