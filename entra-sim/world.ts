// The tenants, people and application that every simulation starts with. Names say what they are for.

import type { AppFields } from './applications.ts';
import { App } from './applications.ts';
import type { Clock } from './clock.ts';
import type { Directory } from './tenants.ts';
import { consumersTenantId, createDirectory } from './tenants.ts';

export function createWorld(clock: Clock, fields: AppFields = {}): { directory: Directory; app: App } {
  const directory = createDirectory(clock);
  const contoso = directory.add('contoso');
  const fabrikam = directory.add('fabrikam');
  const consumers = directory.add('consumers', { id: consumersTenantId, domain: 'outlook.example' });
  directory.add('fairfax', { cloud: 'usgov' }).addUser('grace');
  directory.add('dod', { cloud: 'usgov-dod' }).addUser('dora');
  directory.add('shanghai', { cloud: 'china' }).addUser('chen');

  const alice = contoso.addUser('alice', { groups: 1, roles: ['Reader'] });
  contoso.addUser('bob', { groups: 200 });
  contoso.addUser('olivia', { name: 'Olivia Overage', groups: 2305 });
  contoso.addUser('norma', { name: 'Norma Nomail', email: undefined });
  contoso.addUser('dina', { name: 'Dina Disabled' }).disable();
  const ulf = contoso.addUser('ulf', { name: 'Ulf Unassigned' });

  const frank = fabrikam.addUser('frank');
  // nOAuth: the administrator of a tenant writes somebody else's address into a user of his own.
  fabrikam.addUser('mallory', { name: 'Mallory Example', email: alice.mail });
  const pat = consumers.addUser('pat', { name: 'Pat Personal', oid: '00000000-0000-0000-66f3-3332eca7ea81' });
  contoso.addGuest('frank-guest', frank);
  contoso.addGuest('pat-guest', pat);

  const app = new App(clock, contoso, fields);
  ulf.unassign(app);
  return { directory, app };
}
