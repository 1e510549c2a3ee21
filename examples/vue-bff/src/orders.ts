// The orders API, through our own server, which adds the token. Errors carry a sentence for the person.

import { ask, signedOut } from './auth.ts';

export interface Order {
  number: number;
  article: string;
  /** Cents. */
  price: number;
  /** ISO 8601. */
  placedAt: string;
}

export const articles = { notebook: 'Notebook', pencils: 'Pencils', lamp: 'Desk lamp' };

export const listOrders = () => call('GET', '/api/orders') as Promise<Order[]>;

export const placeOrder = (article: keyof typeof articles) => call('POST', `/api/orders/${article}`) as Promise<Order>;

async function call(method: string, path: string): Promise<unknown> {
  const response = await ask(path, method).catch((cause) => {
    throw new Error('The application cannot be reached. Please try again in a moment.', { cause });
  });
  if (response.ok) return response.json();
  if (response.status === 401) signedOut('Your session has ended. Please sign in again.');
  if (response.status === 403) throw new Error('Your account may not do this.');
  throw new Error('The orders service could not do this. Please try again in a moment.');
}
