// Orders in memory, by person. What they belong to is the token's `sub`: an e-mail address can be reassigned.

interface Order {
  number: number;
  article: string;
  /** Cents. */
  price: number;
  /** ISO 8601. */
  placedAt: string;
}

const articles = new Map([
  ['notebook', { name: 'Notebook, dotted', price: 890 }],
  ['pencils', { name: 'Pencils, a dozen', price: 640 }],
  ['lamp', { name: 'Desk lamp', price: 4900 }],
]);

const orders = new Map<string, Order[]>();

/** Newest first. Whoever comes for the first time finds two to look at. */
export function ordersOf(person: string): Order[] {
  if (!orders.has(person)) {
    orders.set(person, []);
    placeOrder(person, 'notebook');
    placeOrder(person, 'pencils');
  }
  return orders.get(person)!.toReversed();
}

/** The order, or undefined where there is no such article. */
export function placeOrder(person: string, article: string): Order | undefined {
  const known = articles.get(article);
  if (!known) return undefined;
  const placed = orders.get(person) ?? [];
  const order = {
    number: 1001 + placed.length,
    article: known.name,
    price: known.price,
    placedAt: new Date().toISOString(),
  };
  orders.set(person, [...placed, order]);
  return order;
}
