// An application's back-channel logout endpoint, over HTTP: keeps what it was sent, and answers as a test says.

import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { noteSecret } from './secrets.ts';

export interface ReceivedLogout {
  method: string;
  headers: IncomingHttpHeaders;
  form: URLSearchParams;
  /** The logout token. */
  token: string;
}

export interface LogoutReceiver {
  uri: string;
  received: ReceivedLogout[];
  /** Default: 200, nothing more. */
  answer: RequestListener;
  close(): void;
}

export async function startLogoutReceiver(): Promise<LogoutReceiver> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request
      .on('data', (chunk: Buffer) => chunks.push(chunk))
      .on('end', () => {
        const form = new URLSearchParams(Buffer.concat(chunks).toString());
        const token = form.get('logout_token') ?? '';
        noteSecret('logout token', token);
        receiver.received.push({ method: request.method!, headers: request.headers, form, token });
        receiver.answer(request, response);
      });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const receiver: LogoutReceiver = {
    uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}/backchannel-logout`,
    received: [],
    answer: (_request, response) => response.writeHead(200, { 'Cache-Control': 'no-store' }).end(),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
  return receiver;
}
