// GET /metrics, on a port of its own: figures are for whoever runs the server, and a reverse proxy that passes on all
// of the issuer's paths must not publish them.

import { createServer } from 'node:http';
import type { Log } from '../log.ts';
import { listen, stopListening, urlOf } from '../web/listen.ts';
import { contentType, expose, type Metric } from './exposition.ts';

interface MetricsServer {
  /** http://host:port, without the path. */
  url: string;
  close(): Promise<void>;
}

/** @throws {AppError} listen_failed */
export async function serveMetrics(
  at: { host: string; port: number },
  collect: () => Promise<Metric[]>,
  log: Log,
): Promise<MetricsServer> {
  const answer = async (method: string, path: string): Promise<[status: number, text: string]> => {
    if (path !== '/metrics') return [404, 'The figures are at /metrics.\n'];
    if (method !== 'GET' && method !== 'HEAD') return [405, 'This address answers GET.\n'];
    try {
      return [200, expose(await collect())];
    } catch (error) {
      log.error('metrics.failed', { error });
      return [500, 'The log has the cause.\n'];
    }
  };

  const server = createServer(async ({ method = '', url = '' }, response) => {
    const [status, text] = await answer(method, url.replace(/\?.*/s, ''));
    response.writeHead(status, {
      'Content-Type': status === 200 ? contentType : 'text/plain; charset=utf-8',
      'Content-Length': Buffer.byteLength(text),
      'Cache-Control': 'no-store',
      ...(status === 405 && { Allow: 'GET, HEAD' }),
    });
    response.end(method === 'HEAD' ? undefined : text);
  });
  await listen(server, at, 'Set metrics.listen.port or SIGNET_METRICS_LISTEN_PORT to another one.');
  return { url: urlOf(server), close: () => stopListening(server) };
}
