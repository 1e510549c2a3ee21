// The administrator's consent for a whole tenant, and its return to the application, which carries no code.

import { Aadsts } from './aadsts.ts';
import { findApp } from './accounts.ts';
import type { Exchange, Reply } from './exchange.ts';
import { html, redirect } from './exchange.ts';
import { hidden, page } from './pages.ts';
import type { Simulation } from './simulation.ts';

/** An administrator consents for the tenant. In a test that picked somebody the answer is immediate. */
export function adminConsent(sim: Simulation, exchange: Exchange): Reply {
  const { query, form } = exchange;
  const parameters = exchange.method === 'POST' ? form : query;
  const app = findApp(sim, exchange, parameters.get('client_id'));
  const redirectUri = parameters.get('redirect_uri') ?? '';
  if (!app.redirectUris.includes(redirectUri)) throw new Aadsts(50011);

  if (exchange.method === 'GET' && sim.pick({}) === undefined) return html(consentPage(parameters));
  const back = new URL(redirectUri);
  const state = parameters.get('state');
  if (state !== null) back.searchParams.set('state', state);
  if (parameters.get('answer') === 'no') {
    const declined = new Aadsts(65004);
    back.searchParams.set('error', declined.error);
    back.searchParams.set('error_subcode', 'cancel');
    back.searchParams.set('error_description', declined.description(exchange.trace));
    return redirect(back.href);
  }
  const tenant = sim.directory.find(exchange.authority, exchange.loginHost) ?? sim.pick({})?.tenant ?? app.home;
  tenant.consentTo(app);
  back.searchParams.set('admin_consent', 'True');
  back.searchParams.set('tenant', tenant.id);
  back.searchParams.set('scope', parameters.get('scope') ?? '');
  return redirect(back.href);
}

function consentPage(parameters: URLSearchParams): string {
  const fields = ['client_id', 'redirect_uri', 'state', 'scope'].flatMap((name) => {
    const value = parameters.get(name);
    return value === null ? [] : [[name, value] as const];
  });
  return page(
    'Permissions requested',
    `<p>Accept for your whole organisation?</p><form method="POST">${hidden(fields)}
<button name="answer" value="yes">Accept</button><button name="answer" value="no">Cancel</button></form>`,
  );
}
