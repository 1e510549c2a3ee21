// Which user object signs in where, and whether Entra lets it. Used by sign-in and by every later refresh.

import { Aadsts } from './aadsts.ts';
import type { App } from './applications.ts';
import type { Exchange } from './exchange.ts';
import type { Simulation } from './simulation.ts';
import type { User } from './users.ts';

/** Finds the application for an authority, or throws what Entra shows: 90002, 700016, 50194. */
export function findApp(sim: Simulation, { authority, loginHost }: Exchange, clientId: string | null | undefined): App {
  const app = sim.apps.find((each) => each.clientId === clientId);
  const alias = authority.toLowerCase();
  if (alias === 'common' || alias === 'organizations') {
    if (app === undefined) throw new Aadsts(700016);
    if (app.audience === 'AzureADMyOrg') throw new Aadsts(50194);
    return app;
  }
  const tenant = sim.directory.find(authority, loginHost);
  if (tenant === undefined) throw new Aadsts(90002);
  if (app === undefined || !app.admits(tenant)) throw new Aadsts(700016);
  return app;
}

/**
 * The user object that `user` is at this authority. At a tenant: its own or its guest object there. At common and
 * organizations: always the account at home, so a guest never reaches the resource tenant that way.
 */
export function accountAt(sim: Simulation, { authority, loginHost }: Exchange, app: App, user: User): User {
  const alias = authority.toLowerCase();
  const home = user.home ?? user;
  if (alias === 'common' || alias === 'organizations') {
    if (home.tenant.loginHost !== loginHost) throw new Aadsts(50034);
    if (alias === 'organizations' && home.tenant.isConsumers) throw new Aadsts(500208);
    if (!app.admits(home.tenant)) throw new Aadsts(50020);
    return home;
  }
  const tenant = sim.directory.find(authority, loginHost);
  if (tenant === undefined) throw new Aadsts(90002);
  const account = user.tenant === tenant ? user : [...tenant.users.values()].find((each) => each.home === home);
  if (account === undefined) throw new Aadsts(50020);
  return account;
}

/** Throws why this user may not use this application now. */
export function assertMaySignIn(app: App, user: User): void {
  if (user.deleted) throw new Aadsts(500341);
  if (user.disabled || user.home?.disabled) throw new Aadsts(50057);
  if (user.refusal !== undefined) throw new Aadsts(user.refusal.number, { claims: user.refusal.claims });
  if (app.assignmentRequired && !user.isAssignedTo(app)) throw new Aadsts(50105);
}
