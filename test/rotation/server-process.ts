// One server in a process of its own, so that it can be killed as machines kill. Started by fleet.ts, which gives it
// its settings and may tell it at which line of its log to drop dead.

import { flushCompileCache } from 'node:module';
import { createLog } from '../../src/log.ts';
import { startServer } from '../../src/server.ts';
import { type ServerSettings, serverConfig } from './scaled.ts';

let lastWords: string | undefined;
process.on('message', ({ dieAt }: { dieAt?: string }) => {
  lastWords = dieAt;
});

const log = createLog('debug', (line) => {
  process.stderr.write(line); // to a pipe: written when this returns
  if (lastWords !== undefined && JSON.parse(line).event === lastWords) process.kill(process.pid, 'SIGKILL');
});

const settings = JSON.parse(process.argv[2]!) as ServerSettings;
const server = await startServer(serverConfig(settings), log, {
  sweepEveryMs: settings.sweepEveryMs,
  aliveEveryMs: settings.aliveEveryMs,
});

const stop = () =>
  void server
    .drain()
    .then(server.close)
    .then(() => process.exit(0));
process.on('SIGTERM', stop);
process.on('disconnect', () => process.exit(1)); // the test is gone
flushCompileCache(); // before anybody kills this
process.send!('ready');
