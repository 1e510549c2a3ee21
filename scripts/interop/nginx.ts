// nginx as Debian packages it, guarding one file: it verifies nothing itself, and asks the Node example about every
// request, which is what other-languages.md shows.

import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../test/support/ports.ts';
import { type Contender, node, run, untilAnswering } from './contenders.ts';

const program = '/usr/sbin/nginx';
const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];

export const nginx: Contender = {
  name: 'nginx, auth_request',
  readsStatusLists: true,
  gaps: {},
  prepare() {
    if (!existsSync(program)) throw new Error('apt-get install nginx');
    return `nginx ${run('dpkg-query', ['-W', '-f', '${Version}', 'nginx'])}, asking ${node.name}`;
  },
  async start(place) {
    const verifier = await node.start(place);
    const port = await freePort();
    const directory = mkdtempSync(join(tmpdir(), 'signet-nginx-'));
    chmodSync(directory, 0o755); // its workers are another user
    writeFileSync(join(directory, 'orders'), '{"orders": []}\n');
    writeFileSync(
      join(directory, 'nginx.conf'),
      `
      ${process.getuid?.() === 0 ? 'user www-data;' : ''}
      daemon off;
      pid ${directory}/pid;
      error_log stderr;
      events {}
      http {
        access_log off;
        ${temporary.map((what) => `${what}_temp_path ${directory}/${what};`).join(' ')}
        server {
          listen 127.0.0.1:${port};
          root ${directory};
          location /orders {
            auth_request /verify;
          }
          location = /verify {
            internal;
            proxy_pass ${verifier.url};
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
          }
        }
      }
    `,
    );
    const child = spawn(program, ['-c', join(directory, 'nginx.conf')], { stdio: ['ignore', 'ignore', 'pipe'] });
    const running = await untilAnswering(child, `http://127.0.0.1:${port}/orders`);
    return {
      url: running.url,
      async stop() {
        await running.stop();
        await verifier.stop();
        rmSync(directory, { recursive: true, force: true });
      },
    };
  },
};
