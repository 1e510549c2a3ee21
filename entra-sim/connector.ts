// How requests to Microsoft's host names reach the simulator with everything else unchanged: undici dials another
// socket but keeps name, SNI and certificate check; Chromium is told by two arguments.

import { buildConnector } from 'undici';

import { isLocal, isSimulated, simulatedHosts, tenantHosts } from './hosts.ts';

/** For `new Agent({ connect })`. A host that is neither simulated nor this machine is refused: no test leaves it. */
export function createConnector({ ca, port }: { ca: string; port: number }): buildConnector.connector {
  const dial = buildConnector({ ca });
  return (options, callback) => {
    const { hostname } = options;
    if (isSimulated(hostname)) {
      const servername = options.servername || hostname;
      return dial({ ...options, servername, hostname: '127.0.0.1', port: String(port) }, callback);
    }
    if (isLocal(hostname)) return dial(options, callback);
    callback(new Error(`${hostname} is not simulated, and a test dials nothing else`), null);
  };
}

/** Chromium arguments that lead Microsoft's names to the simulator and accept its key, and no other, without a CA. */
export function chromiumArguments({ port, pin }: { port: number; pin: string }): string[] {
  const rules = [...simulatedHosts, tenantHosts].map((host) => `MAP ${host}:443 127.0.0.1:${port}`).join(',');
  return [`--host-resolver-rules=${rules}`, `--ignore-certificate-errors-spki-list=${pin}`];
}
