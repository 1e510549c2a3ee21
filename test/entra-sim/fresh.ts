// What most tests of the simulator start from: one simulator for the file, as new before each test, and a browser, at
// which Microsoft signs alice in without asking.

import { afterAll, beforeAll, beforeEach } from 'vitest';
import type { EntraSim } from '../../entra-sim/index.ts';
import { startEntraSim } from '../../entra-sim/index.ts';
import type { Visitor } from './visitor.ts';
import { createVisitor, redirectUri } from './visitor.ts';

export let sim: EntraSim;
export let visitor: Visitor;

/** To be called once in a test file. */
export function startFresh(): void {
  beforeAll(async () => {
    sim = await startEntraSim({ app: { redirectUris: [redirectUri], audience: 'AzureADandPersonalMicrosoftAccount' } });
  });
  afterAll(() => sim.close());

  beforeEach(async () => {
    await sim.reset();
    sim.signInAs('alice');
    visitor = createVisitor(sim);
    return () => visitor.close().catch(() => undefined); // a hanging request may still be open
  });
}
