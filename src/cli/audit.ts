// signet audit: reads the record of who did what, and checks that nobody rewrote it.

import { InvalidArgumentError, type Command } from 'commander';
import { durationPattern, toSeconds } from '../config-rules.ts';
import { AppError } from '../errors.ts';
import { moment, table } from './layout.ts';
import type { Session } from './session.ts';

interface Given {
  event?: string;
  subject?: string;
  since?: number;
  limit: number;
}

export function auditCommands(program: Command, session: Session): void {
  const audit = program.command('audit').description('the record of who did what');

  audit.command('list')
    .description('show events, newest first; ROW is the place in the chain that "verify" checks')
    .option('--event <name>', 'only this event, such as key.activated')
    .option('--subject <id>', 'only what was done to this account or key')
    .option('--since <when>', 'not before this date (2026-07-01), or not longer ago than this (24h)', pointInTime)
    .option('--limit <count>', 'at most this many, up to 1000', count, 50)
    .action(async (given: Given) => {
      const events = await session.withStore((store) => store.audit.list(given));
      const rows = events.map(({ seq, at, event, actor, subject, clientId, detail }) => [
        seq === null ? '' : String(seq), moment(at), event, actor ?? '', subject ?? clientId ?? '', detailText(detail),
      ]);
      session.answer({ events: events.map((event) => ({ ...event, at: new Date(event.at) })) }, events.length === 0
        ? 'No events.'
        : table(['ROW', 'TIME', 'EVENT', 'BY', 'SUBJECT', 'DETAIL'], rows));
    });

  audit.command('verify')
    .description('check the chain of administrative and key events; exit code 1 if a row was changed, removed or moved')
    .action(async () => {
      const verdict = await session.withStore((store) => store.audit.verify());
      if (!verdict.ok) {
        const { seq, problem } = verdict;
        throw new AppError('audit_chain_broken', 500, `the chain is broken: row ${seq} was ${problem}`, {
          hint: 'compare the table audit_events with a backup, from that row on',
        });
      }
      session.answer(verdict, `the chain is whole: ${verdict.checked} rows\nIts head is ${verdict.head || '(empty)'}; `
        + 'noted elsewhere, it also proves later that no rows were cut off at the end.');
    });
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
  return at;
}

function count(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= 1000) return value;
  throw new InvalidArgumentError('Write a whole number from 1 to 1000.');
}
