// A directory to run `signet` in, within this process: what was typed, what came out, and the exit code.

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { run } from '../../src/cli/run.ts';
import { loadConfig } from '../../src/config/config.ts';
import { silentLog } from '../../src/log.ts';
import { openStore } from '../../src/store.ts';
import { keyMaterialIn } from '../support/secrets.ts';

interface Said {
  exitCode: number;
  out: string;
  err: string;
  /** What --json answered. */
  document: any;
}

export interface Terminal {
  directory: string;
  /** Runs `signet` with these words; one string is split at spaces. */
  signet(words: string | readonly string[], options?: { input?: string; env?: NodeJS.ProcessEnv }): Promise<Said>;
  write(name: string, text: string): Promise<void>;
  /** Leaves a database as a server does that ran here once and made no key and no administrator. */
  makeDatabase(): Promise<void>;
  /** The bytes of the database, as whoever steals the disk has them. */
  stored(): Promise<string>;
  leave(): Promise<void>;
}

/** In a fresh directory, or in `directory`; `env` is what every command finds in its environment. */
export async function openTerminal(options: { directory?: string; env?: NodeJS.ProcessEnv } = {}): Promise<Terminal> {
  const { directory, env: shell = {} } = options;
  const cwd = directory ?? (await mkdtemp(join(tmpdir(), 'signet-cli-')));

  return {
    directory: cwd,

    async signet(words, { input, env = {} } = {}) {
      const argv = typeof words === 'string' ? words.split(' ').filter((word) => word !== '') : words;
      let [out, err] = ['', ''];
      // A server is stopped when it has said that it runs.
      let stop = () => {};
      const stopped = new Promise<void>((resolve) => {
        stop = resolve;
      });
      const exitCode = await run(argv, {
        out: (text) => {
          out += text;
          stop();
        },
        err: (text) => {
          err += text;
        },
        readInput: async () => {
          if (input === undefined) throw new Error('this command was not to read standard input');
          return input;
        },
        userName: 'tester',
        untilStopped: () => stopped,
        env: { SIGNET_PASSWORDS_BCRYPT_COST: '4', ...shell, ...env },
        cwd,
      });
      expect(out + err, 'never a stack trace').not.toMatch(/^\s+at .*:\d+/m);
      expect(keyMaterialIn(out + err)).toEqual([]);
      return { exitCode, out, err, document: argv.includes('--json') ? JSON.parse(out) : undefined };
    },

    write: (name, text) => writeFile(join(cwd, name), text),

    async makeDatabase() {
      const store = await openStore(loadConfig({ env: shell, cwd }), silentLog);
      await store.close();
    },

    async stored() {
      const folder = join(cwd, 'data');
      const files = await readdir(folder);
      return (await Promise.all(files.map((file) => readFile(join(folder, file), 'latin1')))).join('');
    },

    leave: () => rm(cwd, { recursive: true, force: true }),
  };
}

/** The same text for every run: ids, secrets, dates and directories have placeholders of their width. */
export function normalised(text: string, { directory }: Terminal): string {
  return text
    .replaceAll(directory, '/srv/signet')
    .replace(/\b[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}\b/g, '00000000-0000-0000-0000-000000000000')
    .replace(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z/g, '2026-01-01T00:00:00Z')
    .replace(/(?<![\w-])[\w-]{43}(?![\w-])/g, 'x'.repeat(43))
    .replace(/\b[a-z2-9]{4}(-[a-z2-9]{4}){4}\b/g, 'xxxx-xxxx-xxxx-xxxx-xxxx')
    .replace(/ \d+ s( {2,})/g, ' 0 s$1');
}

/** Every command there is, as words: read from the help texts, innermost ones only. */
export async function everyCommand({ signet }: Terminal): Promise<string[]> {
  const inner = async (words: string[]): Promise<string[]> => {
    const { out } = await signet([...words, '--help']);
    const listed = /^Commands:\n((?: .*\n)+)/m.exec(out)?.[1] ?? '';
    const names = [...listed.matchAll(/^ {2}([\w-]+)/gm)].map(([, name]) => name!);
    if (names.length === 0) return [words.join(' ')];
    return (await Promise.all(names.map((name) => inner([...words, name])))).flat();
  };
  return inner([]);
}
