// signet serve: starts the server and says, to whoever is there for the first time, what to do next.

import { availableParallelism } from 'node:os';
import { relative } from 'node:path';
import type { Command } from 'commander';
import { type Config, ownCommand } from '../config/config.ts';
import { createLog, type Log } from '../log.ts';
import type { RunningServer } from '../server.ts';
import type { CliSession, Io } from './session.ts';
import type { Supervisor } from './supervisor.ts';
import { facts, framed } from './tables.ts';

export function serveCommand(program: Command, session: CliSession): void {
  program
    .command('serve')
    .description('start the server; SIGINT or SIGTERM stops it when requests under way are finished')
    .action(async () => {
      // First of all: whoever stops a server that is still starting, or has this moment said that it runs, means a stop
      // as well. As the first process of a container it would otherwise not even hear of it.
      const stopping = new AbortController();
      const stopped = session.io.untilStopped().then(() => {
        session.note('stopping when requests under way are finished; a second signal stops at once');
        stopping.abort();
      });
      const config = session.config();
      const log = createLog(config.log.level, session.io.err);
      const server = await start(config, log, stopping.signal).catch((error: unknown) => {
        // It listened to nobody yet: there is nothing to finish, and nobody to tell what else was the matter.
        if (stopping.signal.aborted) return undefined;
        throw error;
      });
      if (!server) return;
      try {
        session.answer(
          { ...addresses(config), listening: server.url, firstAdministrator: server.firstAdministrator ?? null },
          server.firstAdministrator
            ? firstStart(config, server.url, server.firstAdministrator, session.io)
            : laterStart(config, server),
        );
        await Promise.race([stopped, ...('failed' in server ? [server.failed] : [])]);
        await server.drain();
      } finally {
        await server.close();
      }
    });
}

/** One process, or a supervisor with workers: which of them is loaded says the configuration. */
async function start(config: Config, log: Log, stopping: AbortSignal): Promise<RunningServer | Supervisor> {
  const workers = config.workers === 'auto' ? availableParallelism() : config.workers;
  if (workers > 1) {
    const { startWorkers } = await import('./supervisor.ts');
    return startWorkers(config, log, { workers, stopping });
  }
  const { startServer } = await import('../server.ts');
  return startServer(config, log, { stopping });
}

function addresses({ issuer }: Config) {
  return { issuer, discovery: `${issuer}/.well-known/openid-configuration`, jwks: `${issuer}/jwks` };
}

function laterStart(config: Config, { url }: RunningServer): string {
  const { issuer, discovery } = addresses(config);
  return `Signet is running.\n\n${facts({ issuer, discovery, listening: url })}\n`;
}

function firstStart(
  config: Config,
  url: string,
  { email, oneTimePassword }: NonNullable<RunningServer['firstAdministrator']>,
  { cwd = '.', env }: Io,
): string {
  const signet = ownCommand(env);
  const { issuer, discovery, jwks } = addresses(config);
  const { masterKey, masterKeyFile } = config.keys;
  const keyFile = masterKey === undefined ? `the master key (${relative(cwd, masterKeyFile)})` : 'the master key';
  return `Signet is running, for the first time.

${facts({ issuer, discovery, jwks, listening: url })}

${framed([
  'The first administrator. The password is shown this once.',
  '',
  `e-mail              ${email}`,
  `one-time password   ${oneTimePassword}`,
  '',
  'It is good for one sign-in, where a password of your own is chosen.',
])}

What to do next:

  1. Register an application, in another terminal:

       ${signet} clients add --name "My app" --type spa --first-party \\
         --redirect-uri http://localhost:5173/callback --origin http://localhost:5173

     or declare it in signet.yaml, with the APIs it may call: see signet.example.yaml.
  2. Point the application at the issuer above, with the client id that this prints; it sends you here to sign in. It
     asks for openid, profile, email and roles; a resource only once signet.yaml declares the API and gives it access.
  3. Back up both the database and ${keyFile}, apart from each other:
     whoever has both can sign tokens in your name, and without the key a restored database cannot.

Ctrl-C stops the server.
`;
}
