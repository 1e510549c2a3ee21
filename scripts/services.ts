// The real services that the tests run on, PostgreSQL, PgBouncer, Redis and Chromium: found where they are, or installed from
// Debian packages where this process may. Nothing is left running: servers are started by the tests that want them.

import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The directory with a working `initdb` and `postgres`, newest version first. */
export function findPostgres(): string | undefined {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const directories = [...versions.map((version) => join(debian, version, 'bin')), ...searchPath()];
  return directories.find((directory) =>
    ['initdb', 'postgres'].every((name) => answersVersion(join(directory, name), /PostgreSQL/)),
  );
}

/** The executable of a Redis server. */
export function findRedis(): string | undefined {
  return ['/usr/bin', ...searchPath()]
    .map((directory) => join(directory, 'redis-server'))
    .find((file) => answersVersion(file, /Redis/));
}

/** The executable of PgBouncer, a pooler before PostgreSQL. */
export function findPgBouncer(): string | undefined {
  return ['/usr/sbin', ...searchPath()]
    .map((directory) => join(directory, 'pgbouncer'))
    .find((file) => answersVersion(file, /PgBouncer/));
}

/** The executable of a Chromium or Chrome. */
export function findChromium(): string | undefined {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  return names
    .flatMap((name) => ['/usr/bin', ...searchPath()].map((directory) => join(directory, name)))
    .find((file) => answersVersion(file, /Chrom/));
}

interface Missing {
  name: 'PostgreSQL' | 'PgBouncer' | 'Redis' | 'Chromium';
  reason: string;
}

/** Installs what cannot be found. What is still missing afterwards is returned, with the reason. */
export function ensureServices(print: (line: string) => void): Missing[] {
  const wanted = [
    { name: 'PostgreSQL', find: findPostgres, packages: ['postgresql'] },
    { name: 'PgBouncer', find: findPgBouncer, packages: ['pgbouncer'] },
    { name: 'Redis', find: findRedis, packages: ['redis-server'] },
    { name: 'Chromium', find: findChromium, packages: ['chromium', 'fonts-dejavu-core'] },
  ] as const;
  const absent = wanted.filter(({ find }) => find() === undefined);
  if (absent.length === 0) return [];
  const failure = install(absent.flatMap(({ packages }) => packages), print);
  return absent
    .filter(({ find }) => find() === undefined)
    .map(({ name }) => ({ name, reason: failure ?? 'the installed program does not run' }));
}

function install(packages: string[], print: (line: string) => void): string | undefined {
  const hasApt = searchPath().some((directory) => isExecutable(join(directory, 'apt-get')));
  if (!hasApt) return 'not found, and there is no apt-get to install it';
  if (process.getuid?.() !== 0) return `not found, and only root can apt-get install ${packages.join(' ')}`;
  print(`installing ${packages.join(', ')} with apt-get`);
  if (packages.includes('postgresql')) keepClusterFromStarting();
  if (packages.includes('redis-server')) keepFromStarting('redis-server');
  if (packages.includes('pgbouncer')) keepFromStarting('pgbouncer');
  const options = ['-y', '--no-install-recommends', '-o', 'Dpkg::Options::=--force-confold'];
  return aptGet(['update']) ?? aptGet(['install', ...options, ...packages]);
}

function aptGet(args: string[]): string | undefined {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const { status, stderr } = spawnSync('apt-get', ['-q', ...args], {
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  if (status === 0) return undefined;
  return `apt-get ${args[0]} failed: ${stderr.trim().split('\n').at(-1)}`;
}

// Debian's package would create a database cluster at once and start it on port 5432.
function keepClusterFromStarting(): void {
  const directory = '/etc/postgresql-common';
  if (existsSync(join(directory, 'createcluster.conf'))) return;
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'createcluster.conf'), 'create_main_cluster = false\n');
}

// The same of Redis, on port 6379, and of PgBouncer: a unit that is masked is installed and not started.
function keepFromStarting(service: string): void {
  const directory = '/etc/systemd/system';
  const unit = join(directory, `${service}.service`);
  if (existsSync(unit)) return;
  mkdirSync(directory, { recursive: true });
  symlinkSync('/dev/null', unit);
}

function searchPath(): string[] {
  return (process.env.PATH ?? '').split(delimiter).filter((directory) => directory !== '');
}

// A name alone proves nothing: Ubuntu's chromium-browser, for one, is a script that asks for a snap.
function answersVersion(file: string, pattern: RegExp): boolean {
  if (!isExecutable(file)) return false;
  return pattern.test(spawnSync(file, ['--version'], { encoding: 'utf8', timeout: 20_000 }).stdout ?? '');
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
