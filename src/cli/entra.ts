// signet entra: what a live tenant does that no document settles, in a report that may be shown to anybody; and the
// emergency in which one of Microsoft's own keys is not to be believed any more.

import type { Command } from 'commander';
import type { EntraConfig } from '../config/config.ts';
import { AppError } from '../errors.ts';
import { createLog } from '../log.ts';
import { usageError } from './failure.ts';
import type { CliSession } from './session.ts';
import { moment, table } from './tables.ts';

export function entraCommands(program: Command, session: CliSession): void {
  const entra = program.command('entra').description('Microsoft Entra ID, as it is configured');

  function configured(): EntraConfig {
    const { entra: config } = session.config();
    if (config) return config;
    throw new AppError('entra_not_configured', 400, 'there is no entra section in the configuration', {
      hint: 'signet.yaml says under entra which tenant signs people in: see docs/entra.md',
    });
  }

  entra
    .command('check')
    .description('sign in once at the live tenant, and report what it does; nothing is stored, nobody is named')
    .option('--port <port>', 'port on localhost that the browser comes back to', '8400')
    .option('--context <id>', 'authentication context of Conditional Access to ask for, such as c1')
    .action(async (given: { port: string; context?: string }) => {
      const [
        config,
        {
          log: { level },
        },
      ] = [configured(), session.config()];
      const port = Number(given.port);
      if (!/^\d{1,5}$/.test(given.port) || port < 1 || port > 65_535) throw usageError('--port must be a port number');
      if (given.context && !/^c\d{1,2}$/.test(given.context)) throw usageError('--context must be c1 to c99');
      const { checkLive } = await import('../entra/live-check.ts');
      const { cloudOf } = await import('../entra/clouds.ts');
      const findings = await checkLive({
        config,
        port,
        context: given.context,
        dispatcher: session.io.dispatcher,
        log: createLog(level === 'info' ? 'warn' : level, session.io.err),
        ready: (url) =>
          session.note(
            `http://localhost:${port}/sign-in/entra/callback has to be a redirect URI of the app (platform Web).\n` +
              `Open this and sign in:\n\n${url}\n`,
          ),
      });
      const rows = findings.map(({ number, question, seen }) => [String(number), question, seen]);
      session.answer({ cloud: cloudOf(config).name, findings }, table(['', 'QUESTION', 'SEEN'], rows));
    });

  entra
    .command('refresh-keys')
    .description('the emergency: every server forgets the signing keys of Microsoft, and loads them anew')
    .action(() => {
      configured();
      return session.withStore(async ({ entraKeys }) => {
        const asked = await entraKeys.ask({ actor: session.actor });
        session.answer(
          asked,
          'The next token from Microsoft is checked with the keys that it publishes then.\n' +
            `Running servers have forgotten the others by ${moment(asked.serversFollowBy)}.`,
        );
      });
    });
}
