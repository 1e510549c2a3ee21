// Certificates made at test time by the openssl command line: node has no way to issue X.509. The same program makes
// Entra's signing keys (RSA, with the self-signed certificate that the JWKS carries as x5c), so that neither node's nor
// jose's key generation is on both sides of a test.

import { execFile } from 'node:child_process';
import { createHash, randomUUID, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { simulatedHosts, tenantHosts } from './hosts.ts';

const run = promisify(execFile);

/** A certificate and its private key, both PEM. */
export interface Pair {
  certificate: string;
  key: string;
}

/** Everything a run needs, made once: about twelve short openssl calls, half a second on a slow machine. */
export interface Certificates {
  /** PEM of the root that signed `tls.good`, `tls.expired` and `tls.wrongHost`. */
  ca: string;
  tls: { good: Pair; expired: Pair; wrongHost: Pair; unknownCa: Pair };
  signing: { work: Pair; consumer: Pair; rogue: Pair };
}

const elliptic = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
const rsa = ['-newkey', 'rsa:2048'];
const oneMonth = ['-days', '30'];
const subject = (commonName: string) => ['-subj', `/CN=${commonName}`];

/** Makes the certificates in `directory`, or reads those that an earlier call has made there. */
export async function loadCertificates(directory: string): Promise<Certificates> {
  if (!existsSync(directory)) await make(directory);
  const pair = async (name: string): Promise<Pair> => ({
    certificate: await readFile(join(directory, `${name}.pem`), 'utf8'),
    key: await readFile(join(directory, `${name}.key`), 'utf8'),
  });
  return {
    ca: (await pair('ca')).certificate,
    tls: {
      good: await pair('good'),
      expired: await pair('expired'),
      wrongHost: await pair('wrong-host'),
      unknownCa: await pair('unknown-ca'),
    },
    signing: { work: await pair('work'), consumer: await pair('consumer'), rogue: await pair('rogue') },
  };
}

// Test files run in parallel and share the directory: it appears complete, by a rename, or not at all.
async function make(directory: string): Promise<void> {
  const draft = `${directory}.${randomUUID()}`;
  await mkdir(draft, { recursive: true });
  const names = [...simulatedHosts, tenantHosts, 'localhost'].map((name) => `DNS:${name}`).join(',');
  await Promise.all([root(draft, 'ca'), root(draft, 'other-ca')]);
  await Promise.all([
    leaf(draft, 'good', 'ca', `${names},IP:127.0.0.1`),
    leaf(draft, 'wrong-host', 'ca', 'DNS:elsewhere.example'),
    leaf(draft, 'unknown-ca', 'other-ca', names),
    expiredLeaf(draft, 'expired', 'ca', names),
    ...['work', 'consumer', 'rogue'].map((name) => selfSigned(draft, name, 'accounts.accesscontrol.windows.net')),
  ]);
  await rename(draft, directory).catch(async (error: NodeJS.ErrnoException) => {
    await rm(draft, { recursive: true, force: true });
    if (!existsSync(directory)) throw error; // otherwise another process was first, and its set is as good
  });
}

/** A self-signed RSA pair: a signing key of Entra, or the client certificate of an application under test. */
export async function makeSelfSigned(commonName: string, { expired = false } = {}): Promise<Pair> {
  const directory = await mkdtemp(join(tmpdir(), 'entra-sim-'));
  try {
    if (expired) await expiredSelfSigned(directory, 'made', commonName);
    else await selfSigned(directory, 'made', commonName);
    return {
      certificate: await readFile(join(directory, 'made.pem'), 'utf8'),
      key: await readFile(join(directory, 'made.key'), 'utf8'),
    };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Base64 SHA-256 of the public key: what Chromium's --ignore-certificate-errors-spki-list compares. */
export function publicKeyPin(certificatePem: string): string {
  const spki = new X509Certificate(certificatePem).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('base64');
}

/** Base64url of the certificate's digest: `x5t#S256`, or with sha1 the older `x5t`. */
export function thumbprint(certificatePem: string, digest: 'sha256' | 'sha1' = 'sha256'): string {
  return createHash(digest).update(new X509Certificate(certificatePem).raw).digest('base64url');
}

const files = (directory: string, name: string) => [
  '-nodes',
  '-keyout',
  join(directory, `${name}.key`),
  '-out',
  join(directory, `${name}.pem`),
];
const forServer = (names: string) => [
  `subjectAltName=${names}`,
  'basicConstraints=critical,CA:FALSE',
  'extendedKeyUsage=serverAuth',
];
const signedBy = (directory: string, ca: string) => [
  '-CA',
  join(directory, `${ca}.pem`),
  '-CAkey',
  join(directory, `${ca}.key`),
];

async function root(directory: string, name: string): Promise<void> {
  await openssl(['req', '-x509', ...elliptic, ...files(directory, name), ...oneMonth, ...subject(`Simulated ${name}`)]);
}

async function leaf(directory: string, name: string, ca: string, names: string): Promise<void> {
  const extensions = forServer(names).flatMap((line) => ['-addext', line]);
  const made = [...elliptic, ...files(directory, name), ...oneMonth, ...subject(name)];
  await openssl(['req', '-x509', ...signedBy(directory, ca), ...made, ...extensions]);
}

async function selfSigned(directory: string, name: string, commonName: string): Promise<void> {
  await openssl(['req', '-x509', ...rsa, ...files(directory, name), ...oneMonth, ...subject(commonName)]);
}

// "req -x509" refuses negative days, "x509 -req" does not.
async function expiredLeaf(directory: string, name: string, ca: string, names: string): Promise<void> {
  const at = (suffix: string) => join(directory, `${name}.${suffix}`);
  await openssl(['req', '-new', ...elliptic, '-nodes', '-keyout', at('key'), '-out', at('csr'), ...subject(name)]);
  await writeFile(at('ext'), forServer(names).join('\n'));
  const issued = [...signedBy(directory, ca), '-days', '-1', '-extfile', at('ext'), '-out', at('pem')];
  await openssl(['x509', '-req', '-in', at('csr'), ...issued]);
}

async function expiredSelfSigned(directory: string, name: string, commonName: string): Promise<void> {
  const at = (suffix: string) => join(directory, `${name}.${suffix}`);
  await openssl(['req', '-new', ...rsa, '-nodes', '-keyout', at('key'), '-out', at('csr'), ...subject(commonName)]);
  await openssl(['x509', '-req', '-in', at('csr'), '-signkey', at('key'), '-days', '-1', '-out', at('pem')]);
}

async function openssl(args: string[]): Promise<void> {
  await run('openssl', args).catch((error: NodeJS.ErrnoException & { stderr?: string }) => {
    const reason = error.code === 'ENOENT' ? 'install OpenSSL 3' : error.stderr;
    throw new Error(`openssl ${args[0]} failed: ${reason}`, { cause: error });
  });
}
