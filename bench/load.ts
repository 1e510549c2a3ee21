// A load generator that costs little: on a machine of two cores it takes what it uses from whom it measures. Requests are
// bytes that were made beforehand, one after the other on each connection; of an answer it reads the length and the body.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface Client {
  /** One request on this connection, and the body of its answer. */
  post(body: string): Promise<string>;
  end(): void;
}

/** A connection of its own to POST /token, kept open. */
export async function openClient(port: number, authorization: string): Promise<Client> {
  const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  const head =
    `POST /token HTTP/1.1\r\nHost: localhost:${port}\r\nAuthorization: ${authorization}\r\n` +
    'Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ';
  let [received, wanted] = ['', undefined as { resolve(body: string): void; reject(error: Error): void } | undefined];
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    received += chunk;
    const bodyAt = received.indexOf('\r\n\r\n') + 4;
    if (bodyAt === 3) return;
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(received.slice(0, bodyAt))?.[1]);
    if (received.length < bodyAt + length) return;
    const [answer, asked] = [received, wanted];
    [received, wanted] = ['', undefined];
    if (answer.startsWith('HTTP/1.1 200')) asked?.resolve(answer.slice(bodyAt));
    else asked?.reject(new Error(answer));
  });
  socket.on('error', (error) => wanted?.reject(error));
  socket.on('close', () => wanted?.reject(new Error('the connection was closed')));
  return {
    post: (body) =>
      new Promise((resolve, reject) => {
        wanted = { resolve, reject };
        socket.write(`${head}${body.length}\r\n\r\n${body}`);
      }),
    end: () => socket.destroy(),
  };
}

/** How long each took, in milliseconds, where every client asks again as soon as it is answered. */
export async function loadFor(
  seconds: number,
  clients: readonly Client[],
  ask: (client: Client, index: number) => Promise<unknown>,
): Promise<number[]> {
  const end = performance.now() + seconds * 1000;
  const took: number[] = [];
  await Promise.all(
    clients.map(async (client, index) => {
      for (let now = performance.now(); now < end; ) {
        await ask(client, index);
        const answered = performance.now();
        took.push(answered - now);
        now = answered;
      }
    }),
  );
  return took;
}
