// The command line: words in, one answer and an exit code out. Each command family is a file next door; here are the
// options that all of them share, and what becomes of an error.

import { Command, CommanderError } from 'commander';
import { version } from '../verifier/version.ts';
import { accountCommands } from './accounts.ts';
import { auditCommands } from './audit.ts';
import { clientCommands } from './clients.ts';
import { configCommands } from './config.ts';
import { entraCommands } from './entra.ts';
import { describeFailure, exitCodes, exitCodesHelp, failureText } from './failure.ts';
import { grantCommands } from './grants.ts';
import { keyCommands } from './keys.ts';
import { roleCommands } from './roles.ts';
import { serveCommand } from './serve.ts';
import { createSession, type Io } from './session.ts';
import { verifyCommand } from './verify.ts';
import { workerCommand } from './worker.ts';

/** Runs the command that `argv` asks for (the words after the program's name) and answers the exit code. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  const json = argv.includes('--json');
  let told = '';
  const program: Command = createProgram((text) => {
    told += text;
  }, io.columns);
  const session = createSession(io, { json, configFile: () => program.opts<{ config?: string }>().config });
  serveCommand(program, session);
  workerCommand(program, session);
  configCommands(program, session);
  accountCommands(program, session);
  clientCommands(program, session);
  grantCommands(program, session);
  keyCommands(program, session);
  roleCommands(program, session);
  entraCommands(program, session);
  auditCommands(program, session);
  verifyCommand(program, session);
  for (const family of program.commands) family.helpCommand(false);

  try {
    await program.parseAsync(kidsAreArguments(argv), { from: 'user' });
    return exitCodes.done;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) {
      session.answer(error.code === 'commander.version' ? { version: told.trim() } : { help: told }, told);
      return exitCodes.done;
    }
    const failure = describeFailure(error, usageOf(program, argv));
    if (json) io.out(`${JSON.stringify({ error: failure.error }, null, 2)}\n`);
    else io.err(error instanceof CommanderError && told !== '' ? told : failureText(failure));
    session.debug('cli.failed', { error });
    return failure.exitCode;
  }
}

function createProgram(tell: (text: string) => void, columns = 100): Command {
  return new Command('signet')
    .description('A small, self-hosted identity provider. Every command works whether or not the server runs.')
    .option('--config <file>', 'configuration file (default: SIGNET_CONFIG, else signet.yaml where there is one)')
    .option('--json', 'answer with exactly one JSON document on standard output, errors included')
    .version(version, '--version', 'print the version')
    .helpOption('-h, --help', 'explain a command')
    .helpCommand(false)
    .configureHelp({ showGlobalOptions: true, visibleGlobalOptions: sharedOptions })
    .configureOutput({
      writeOut: tell,
      writeErr: tell,
      outputError: () => undefined,
      getOutHelpWidth: () => columns,
      getErrHelpWidth: () => columns,
    })
    .addHelpText('after', `\n${exitCodesHelp}\n\nFrom a checkout, signet is: npm run signet --`)
    .exitOverride();
}

function sharedOptions(command: Command) {
  const root = command.parent?.parent ?? command.parent;
  return root ? root.options.filter(({ long }) => long !== '--version') : [];
}

// One kid in 64 begins with a dash. It has 43 characters (RFC 7638, SHA-256), and no option has as many.
function kidsAreArguments(argv: readonly string[]): string[] {
  if (argv.includes('--')) return [...argv];
  const isKid = (word: string) => /^-[\w-]{42}$/.test(word);
  const kids = argv.filter(isKid);
  return kids.length === 0 ? [...argv] : [...argv.filter((word) => !isKid(word)), '--', ...kids];
}

/** "signet accounts add": the innermost command that the words name. */
function usageOf(program: Command, argv: readonly string[]): string {
  const names = [program.name()];
  let command = program;
  for (const word of argv) {
    const inner = command.commands.find((candidate) => candidate.name() === word);
    if (!inner) continue;
    names.push(inner.name());
    command = inner;
  }
  return names.join(' ');
}
