// The resource servers of the matrix: what each needs to be there, how it is built, how it is started. Each is an
// example that people copy, run as they would run it: told its issuer and audience by the environment.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../test/support/ports.ts';

export interface Place {
  issuer: string;
  audience: string;
  /** Seconds that it may believe a key without asking. */
  keysSeconds: number;
}

export interface Contender {
  name: string;
  readsStatusLists: boolean;
  /** The shortest time that it can be told to keep keys, in seconds. */
  keysSecondsAtLeast?: number;
  /** Checks that it fails for a known reason, with the reason. */
  gaps: Record<string, string>;
  /** Builds it, and answers with the versions of what verifies. @throws where something is not on this machine */
  prepare(): string;
  /** Resolves to the URL that answers with orders, once it listens. */
  start(place: Place): Promise<Running>;
}

export interface Running {
  url: string;
  stop(): Promise<void>;
}

const root = fileURLToPath(new URL('../..', import.meta.url));
export const cache = `${root}.cache/interop`;

/** Runs `command` to its end; its output is shown only if it fails. */
export function run(command: string, args: string[], cwd = root): string {
  return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function example(name: string): string {
  return `${root}examples/${name}`;
}

export const node: Contender = {
  name: 'Node, @signet-idp/verifier',
  readsStatusLists: true,
  gaps: {},
  prepare: () =>
    `@signet-idp/verifier ${JSON.parse(readFileSync(`${root}package.json`, 'utf8')).version}, Node ${process.version}`,
  start: (place) => startProgram(place, process.execPath, ['server.ts'], example('orders-api')),
};

const python = (name: string, module: string, library: RegExp): Contender => ({
  name: `Python, ${name}`,
  readsStatusLists: true,
  gaps: {},
  prepare() {
    const pip = `${cache}/python/bin/pip`;
    if (!existsSync(pip)) run('python3', ['-m', 'venv', `${cache}/python`]);
    run(pip, ['install', '--quiet', '-r', `${example('orders-api-python')}/requirements.txt`]);
    const installed = run(pip, ['freeze'])
      .split('\n')
      .filter((line) => library.test(line) || /^fastapi=/i.test(line));
    const version = run(`${cache}/python/bin/python`, ['--version']).trim();
    return [...installed.map((line) => line.replace('==', ' ')), version].join(', ');
  },
  start(place) {
    const args = [`${module}:app`, '--host', '127.0.0.1', '--log-level', 'warning', '--port'];
    return startProgram(place, `${cache}/python/bin/uvicorn`, args, example('orders-api-python'));
  },
});

const go: Contender = {
  name: 'Go, lestrrat jwx',
  readsStatusLists: true,
  gaps: {},
  prepare() {
    run('go', ['build', '-o', `${cache}/orders-api-go`, '.'], example('orders-api-go'));
    const jwx = run('go', ['list', '-m', 'github.com/lestrrat-go/jwx/v3'], example('orders-api-go')).trim();
    return `${jwx.replace('github.com/lestrrat-go/', '')}, ${run('go', ['version']).split(' ')[2]}`;
  },
  start: (place) => startProgram(place, `${cache}/orders-api-go`, [], root),
};

const java: Contender = {
  name: 'Java, Spring Security',
  readsStatusLists: true,
  gaps: {},
  prepare() {
    // Maven builds beside the sources; a copy keeps the example as it is.
    cpSync(example('orders-api-java'), `${cache}/java`, { recursive: true });
    run('mvn', ['--batch-mode', '--quiet', 'package'], `${cache}/java`);
    const jars = run('jar', ['tf', `${cache}/java/target/orders-api-0.1.0.jar`]);
    const versionOf = (name: string) => new RegExp(`${name}-([\\d.]+)\\.jar`).exec(jars)?.[1];
    const security = `Spring Security ${versionOf('spring-security-oauth2-jose')}`;
    const boot = `Spring Boot ${versionOf('/spring-boot')}`;
    const version = run('java', ['--version']).split(' ')[1];
    return `${security}, Nimbus ${versionOf('nimbus-jose-jwt')}, ${boot}, Java ${version}`;
  },
  start(place) {
    const flags = ['-XX:TieredStopAtLevel=1', '-jar', `${cache}/java/target/orders-api-0.1.0.jar`];
    return startProgram(place, 'java', [...flags, '--server.address=127.0.0.1', '--logging.level.root=warn'], root);
  },
};

export const programs: Contender[] = [
  node,
  python('joserfc', 'main', /^joserfc=/i),
  python('PyJWT', 'main_pyjwt', /^PyJWT=/i),
  go,
  java,
];

/** A last argument `--port` gets its value here: that is how uvicorn is told; the others read PORT. */
async function startProgram(place: Place, command: string, args: string[], cwd: string): Promise<Running> {
  const port = String(await freePort());
  const env = {
    ...process.env,
    PORT: port,
    SERVER_PORT: port,
    PYTHONDONTWRITEBYTECODE: '1',
    ISSUER: place.issuer,
    AUDIENCE: place.audience,
    KEYS_SECONDS: String(place.keysSeconds),
  };
  const all = args.at(-1) === '--port' ? [...args, port] : args;
  const child = spawn(command, all, { cwd, env, stdio: ['ignore', 'ignore', 'pipe'] });
  // Of localhost and 127.0.0.1, one example may listen on either; a name reaches both.
  return untilAnswering(child, `http://localhost:${port}/orders`);
}

export async function untilAnswering(child: ChildProcess, url: string): Promise<Running> {
  let said = '';
  child.stderr?.on('data', (chunk) => {
    said = `${said}${chunk}`.slice(-4000);
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async () => {
    child.kill();
    await ended;
  };
  for (let tries = 0; tries < 600; tries += 1) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}:\n${said}`);
    if (
      await fetch(url).then(
        () => true,
        () => false,
      )
    )
      return { url, stop };
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await stop();
  throw new Error(`it does not answer at ${url}:\n${said}`);
}
