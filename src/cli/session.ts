// What every command is given: the configuration and the store (opened on demand, closed afterwards) and the two ways
// to speak: one answer on standard output, notes on standard error. Nothing here knows the process; main.ts does.

import type { Dispatcher } from 'undici';
import { type Config, loadConfig } from '../config/config.ts';
import { createLog, type Facts, type Log } from '../log.ts';
import type { LogEvent } from '../log-events.ts';
import type { Store } from '../store.ts';

/** The world outside of a command. */
export interface Io {
  out(text: string): void;
  err(text: string): void;
  /** Everything on standard input. */
  readInput(): Promise<string>;
  /** Name of the person at the keyboard, for the audit trail. */
  userName: string;
  /** Resolves when the process is asked to stop. */
  untilStopped(): Promise<void>;
  /** Width for help texts. Default 100. */
  columns?: number | undefined;
  /** Default: the environment and the working directory of the process. */
  env?: NodeJS.ProcessEnv | undefined;
  cwd?: string | undefined;
  /** Makes the connections to Microsoft, instead of the network of this process. */
  dispatcher?: Dispatcher | undefined;
}

export interface CliSession {
  io: Io;
  /** Whether the answer is one JSON document, in which everything is that a person is told beside it. */
  json: boolean;
  /** For the audit trail. */
  actor: string;
  config(): Config;
  /** What only a developer wants to know, at log level debug. Nothing where no configuration was read. */
  debug(event: LogEvent, details: Facts): void;
  withStore<T>(work: (store: Store) => Promise<T>): Promise<T>;
  /** The one answer of a command: `document` with --json, otherwise `text`. */
  answer(document: object, text: string): void;
  /** A remark beside the answer, on standard error. */
  note(text: string): void;
  /** The same, of what is done and likely to go wrong. */
  warn(text: string): void;
}

export function createSession(io: Io, options: { json: boolean; configFile: () => string | undefined }): CliSession {
  let loaded: Config | undefined;

  function config(): Config {
    loaded ??= loadConfig({ file: options.configFile(), env: io.env, cwd: io.cwd });
    return loaded;
  }

  /** On standard error, and without the everyday lines of a server. */
  function logOf({ log: { level } }: Config): Log {
    return createLog(level === 'info' ? 'warn' : level, io.err);
  }

  return {
    io,
    json: options.json,
    actor: `cli:${io.userName}`,
    config,

    async withStore(work) {
      const configured = config();
      // Half a second to load, with oidc-provider behind it: help and complaints come without.
      const { openStore } = await import('../store.ts');
      const store = await openStore(configured, logOf(configured), { create: false });
      try {
        return await work(store);
      } finally {
        await store.close();
      }
    },

    answer: (document, text) => io.out(options.json ? `${JSON.stringify(document, null, 2)}\n` : ended(text)),
    debug: (event, details) => loaded && logOf(loaded).debug(event, details),
    note: (text) => io.err(`note: ${text}\n`),
    warn: (text) => io.err(`warning: ${text}\n`),
  };
}

function ended(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}
