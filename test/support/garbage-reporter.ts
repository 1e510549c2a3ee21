// Preloaded into a process under test: says what its old generation holds, whenever its parent asks.

import { oldBytes } from './garbage.ts';

process.on('message', async () => process.send!(await oldBytes()));
process.channel!.unref();
