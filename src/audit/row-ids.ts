// The ids of audit events. An id begins with the time of its event in hexadecimal, so the primary key is the index by time
// too: what lists or sweeps by time compares ids.

import { randomUUID } from 'node:crypto';

const timeDigits = 12;

// Sorts by time and, within a process, by order of events, so that what happened in one millisecond is told in order.
let counter = 0;

/** Of an event at `at`, epoch milliseconds. */
export function newRowId(at: number): string {
  counter = (counter + 1) % 0x1_0000;
  // 28 random bits, of a UUID as Node keeps them in stock: for processes at the same count in the same millisecond. 23
  // characters in all, and 24 with their length: PostgreSQL would round one more up by eight, twice in each row.
  return firstRowId(at) + hex(counter, 4) + randomUUID().slice(0, 7);
}

/** No event at `at` or later has a lower id; every earlier one has. */
export function firstRowId(at: number): string {
  return hex(Math.max(0, Math.ceil(at)), timeDigits);
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
