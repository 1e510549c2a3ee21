// The real services that the tests run on (PostgreSQL, PgBouncer, Redis, Chromium, nginx, Caddy): found where they are, or
// installed from Debian packages where this process may. Nothing is left running: tests start the servers they want.

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

/** The executables of the reverse proxies that docs/operations.md has blocks for. */
export const findNginx = () => findProgram('nginx', ['-v'], /nginx/);
export const findCaddy = () => findProgram('caddy', ['version'], /^v?2\./);

function findProgram(name: string, asked: string[], answer: RegExp): string | undefined {
  return ['/usr/bin', '/usr/sbin', ...searchPath()]
    .map((directory) => join(directory, name))
    .find((file) => isExecutable(file) && answer.test(wordsOf(spawnSync(file, asked, { encoding: 'utf8' }))));
}

// nginx tells its version as an error.
const wordsOf = ({ stdout, stderr }: { stdout: string; stderr: string }) => `${stdout ?? ''}${stderr ?? ''}`;

interface Missing {
  name: 'PostgreSQL' | 'PgBouncer' | 'Redis' | 'Chromium' | 'nginx' | 'Caddy';
  reason: string;
}

/** Installs what cannot be found. What is still missing afterwards is returned, with the reason. */
export function ensureServices(print: (line: string) => void): Missing[] {
  const wanted = [
    { name: 'PostgreSQL', find: findPostgres, packages: ['postgresql'] },
    { name: 'PgBouncer', find: findPgBouncer, packages: ['pgbouncer'] },
    { name: 'Redis', find: findRedis, packages: ['redis-server'] },
    { name: 'Chromium', find: findChromium, packages: ['chromium', 'fonts-dejavu-core'] },
    { name: 'nginx', find: findNginx, packages: ['nginx-light'] },
    { name: 'Caddy', find: findCaddy, packages: ['caddy'] },
  ] as const;
  const absent = wanted.filter(({ find }) => find() === undefined);
  if (absent.length === 0) return [];
  if (
    install(
      absent.flatMap(({ packages }) => packages),
      print,
    ) === undefined &&
    absent.every(isThere)
  )
    return [];
  // One that this Debian does not have must not keep the others away.
  return absent
    .filter((each) => !isThere(each))
    .map(({ name, packages, find }) => {
      const failure = install([...packages], print);
      return find() === undefined ? { name, reason: failure ?? 'the installed program does not run' } : undefined;
    })
    .filter((missing) => missing !== undefined);
}

const isThere = ({ find }: { find: () => string | undefined }) => find() !== undefined;

function install(packages: string[], print: (line: string) => void): string | undefined {
  const hasApt = searchPath().some((directory) => isExecutable(join(directory, 'apt-get')));
  if (!hasApt) return 'not found, and there is no apt-get to install it';
  if (process.getuid?.() !== 0) return `not found, and only root can apt-get install ${packages.join(' ')}`;
  print(`installing ${packages.join(', ')} with apt-get`);
  if (packages.includes('postgresql')) keepClusterFromStarting();
  for (const [name, unit] of unitsOf) if (packages.includes(name)) keepFromStarting(unit);
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

// The same of those that Debian would start on ports of their own: a unit that is masked is installed and not started.
const unitsOf = [
  ['redis-server', 'redis-server.service'],
  ['nginx-light', 'nginx.service'],
  ['caddy', 'caddy.service'],
  ['pgbouncer', 'pgbouncer.service'],
] as const;

function keepFromStarting(name: string): void {
  const directory = '/etc/systemd/system';
  const unit = join(directory, name);
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
