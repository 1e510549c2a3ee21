// Last stage of the image: the server runs once, somewhere else, so that node keeps what it compiled, and the container's
// first start is as quick as a later one. As the user whom the container runs as: each has a cache of their own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const main = join(import.meta.dirname, 'dist/main.js');
const cwd = mkdtempSync(join(tmpdir(), 'signet-'));
const server = spawn(process.execPath, [main, 'serve'], { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
server.stdout.once('data', () => server.kill('SIGTERM')); // it says that it runs
const [code] = await once(server, 'exit');
rmSync(cwd, { recursive: true });
process.exitCode = code ?? 1;
