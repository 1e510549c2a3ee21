// The orders API. Errors carry a sentence for the person.

import { accessToken, renew } from './auth.ts';
import { settingsFrom } from './settings.ts';

export interface Order {
  number: number;
  article: string;
  /** Cents. */
  price: number;
  /** ISO 8601. */
  placedAt: string;
}

export const articles = { notebook: 'Notebook', pencils: 'Pencils', lamp: 'Desk lamp' };

export const listOrders = () => call('GET', '/orders') as Promise<Order[]>;

export const placeOrder = (article: keyof typeof articles) => call('POST', `/orders/${article}`) as Promise<Order>;

async function call(method: string, path: string): Promise<unknown> {
  let response = await request(method, path, await accessToken());
  // A token may be refused before its time, as when a key was withdrawn. A new one settles it.
  if (response.status === 401) response = await request(method, path, (await renew()).access_token);
  if (response.ok) return response.json();
  if (response.status === 401) throw new Error('The orders service did not accept your sign-in.');
  if (response.status === 403) throw new Error('Your account may not do this.');
  throw new Error('The orders service could not do this. Please try again in a moment.');
}

async function request(method: string, path: string, token: string): Promise<Response> {
  const { ordersUrl } = settingsFrom(import.meta.env);
  try {
    return await fetch(ordersUrl + path, { method, headers: { Authorization: `Bearer ${token}` } });
  } catch (cause) {
    throw new Error('The orders service cannot be reached. Please try again in a moment.', { cause });
  }
}
