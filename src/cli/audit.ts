// signet audit: reads the record of who did what, and checks that nobody rewrote it.

import { type Command, InvalidArgumentError } from 'commander';
import { auditEvents } from '../audit/events.ts';
import { nearest } from '../config/nearest.ts';
import { durationPattern, toSeconds } from '../config/rules.ts';
import { AppError } from '../errors.ts';
import type { Store } from '../store.ts';
import { accountOf } from './account.ts';
import type { CliSession } from './session.ts';
import { moment, table } from './tables.ts';

interface Given {
  event?: string;
  subject?: string;
  request?: string;
  since?: number;
  limit: number;
}

export function auditCommands(program: Command, session: CliSession): void {
  const audit = program.command('audit').description('the record of who did what');

  audit
    .command('list')
    .description('show events, newest first; ROW is the place in the chain that "verify" checks')
    .option('--event <name>', 'only this event, such as key.activated; "signet audit events" lists them', eventName)
    .option('--subject <who>', 'only about this account (e-mail address or id), key or application')
    .option('--request <reference>', 'only of this request: the reference that a page shows', reference)
    .option('--since <when>', 'not before this date (2026-07-01), or not longer ago than this (24h)', pointInTime)
    .option('--limit <count>', 'at most this many, up to 1000', count, 50)
    .action(async (given: Given, command: Command) => {
      const { request, subject: who, limit, ...others } = given;
      const found = await session.withStore(async (store) =>
        store.audit.list({
          ...others,
          ...(who && (await aboutWhom(store, who))),
          reference: request,
          limit: Math.min(limit + 1, mostEvents),
        }),
      );
      const events = found.slice(0, limit);
      const asked = command.getOptionValueSource('limit') !== 'default';
      if (found.length > limit && !asked)
        session.note(`there are older events; these are the newest ${limit} (--limit, --since)`);
      const rows = events.map(({ seq, at, event, actor, subject, clientId, detail }) => [
        seq === null ? '' : String(seq),
        moment(at),
        event,
        actor ?? '',
        subject ?? clientId ?? '',
        detailText(detail),
      ]);
      session.answer(
        { events: events.map((event) => ({ ...event, at: new Date(event.at) })) },
        events.length === 0
          ? request
            ? noneOfRequest
            : 'No events.'
          : table(['ROW', 'TIME', 'EVENT', 'BY', 'SUBJECT', 'DETAIL'], rows),
      );
    });

  audit
    .command('events')
    .description('list the names of events, and what each says')
    .action(() => session.answer({ events: auditEvents }, table(['EVENT', 'SAYS'], Object.entries(auditEvents))));

  audit
    .command('verify')
    .description('check the chain of administrative and key events; exit code 1 if a row was changed, removed or moved')
    .action(async () => {
      const verdict = await session.withStore((store) => store.audit.verify());
      if (!verdict.ok) {
        const { seq, problem } = verdict;
        throw new AppError('audit_chain_broken', 500, `the chain is broken: row ${seq} was ${problem}`, {
          hint: 'compare the table audit_events with a backup, from that row on',
        });
      }
      session.answer(
        verdict,
        `the chain is whole: ${verdict.checked} rows\nIts head is ${verdict.head || '(empty)'}; ` +
          'noted elsewhere, it also proves later that no rows were cut off at the end.',
      );
    });
}

const mostEvents = 1000;

// Refusals that anybody can cause are counted beyond the first ones of a minute (audit/refusals.ts).
const noneOfRequest = 'No events. The log of the server has a line for each page with a reference: look for it there.';

/** @throws {AppError} account_unknown (404), subject_unknown (404) */
async function aboutWhom(store: Store, who: string): Promise<{ subject: string } | { clientId: string }> {
  if (who.includes('@')) return { subject: (await accountOf(store, who)).id };
  if ((await store.clients.list()).some(({ clientId }) => clientId === who)) return { clientId: who };
  const isKnown =
    (await store.accounts.find(who)) ||
    (await store.keyring.list()).some(({ kid }) => kid === who) ||
    (await store.audit.list({ subject: who, limit: 1 })).length > 0;
  if (isKnown) return { subject: who };
  throw new AppError('subject_unknown', 404, `there is no account, key or application ${who}`, {
    hint: 'signet accounts list, signet keys list and signet clients list show them all.',
  });
}

function eventName(text: string): string {
  if (Object.hasOwn(auditEvents, text)) return text;
  const names = Object.keys(auditEvents);
  const [noun = ''] = text.split('.');
  const near = nearest(text, names);
  const siblings = names.filter((name) => name.startsWith(`${noun}.`));
  const meant = near ? ` Did you mean ${near}?` : '';
  const others = siblings.length > 0 ? ` Of ${noun} there are ${siblings.join(', ')}.` : '';
  throw new InvalidArgumentError(`There is no such event.${meant}${others} All: signet audit events.`);
}

function reference(text: string): string {
  const asked = text.trim().toLowerCase();
  if (/^[0-9a-f]{16}$/.test(asked) || /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(asked)) return asked;
  throw new InvalidArgumentError('Write the reference as the page shows it: 16 hexadecimal digits.');
}

function detailText(detail: Record<string, unknown>): string {
  return Object.entries(detail)
    .map(([name, value]) => `${name}=${typeof value === 'string' && !/\s/.test(value) ? value : JSON.stringify(value)}`)
    .join(' ');
}

function pointInTime(text: string): number {
  if (durationPattern.test(text) && /[smhd]$/.test(text)) return Date.now() - toSeconds(text) * 1000;
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) throw new InvalidArgumentError('Write a date such as 2026-07-01, or a time ago such as 24h.');
  if (at > Date.now()) throw new InvalidArgumentError('This is in the future, so nothing has happened since.');
  return at;
}

function count(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= mostEvents) return value;
  throw new InvalidArgumentError(`Write a whole number from 1 to ${mostEvents}.`);
}
