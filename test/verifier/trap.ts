// A server that nobody should ask: tokens name it, and it counts.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Trap {
  url: string;
  asked: number;
  close(): void;
}

export async function startTrap(): Promise<Trap> {
  const server = createServer((_request, response) => {
    trap.asked++;
    response.end('{"keys":[]}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const trap: Trap = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`,
    asked: 0,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
  return trap;
}
