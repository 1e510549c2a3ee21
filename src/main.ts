import { loadConfig } from './config.ts';
import { createLog } from './log.ts';
import { startServer } from './server.ts';

const config = loadConfig();
const s = await startServer(config, createLog(config.log.level));
console.log(s.url, s.firstAdministrator);
