// Client authentication at Entra (OIDC Core §9), how this server proves which application it is: a secret, a
// certificate, or a token of a federated identity; a first one and, while it is being replaced, a second. Files are
// read again when they change. A credential that cannot be used is an operator's problem and never stops the server:
// people with local accounts must be able to come in and repair it.

import { createHash, createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { stat } from 'node:fs/promises';
import type { EntraConfig } from '../config/config.ts';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { readBytes, readText, unreadable, unusable } from './credential-files.ts';
import { type KeyAndCertificate, pkcs12In, readPkcs12 } from './pkcs12.ts';

/** A credential as it goes into one token request. */
export type Credential =
  | { kind: 'secret'; secret: string }
  /** `thumbprint`: SHA-256 of the certificate in hex. `privateKey`: PEM, not encrypted. */
  | { kind: 'certificate'; thumbprint: string; privateKey: string }
  | { kind: 'federated'; token: string };

type Which = 'primary' | 'secondary';

interface NamedCredential {
  which: Which;
  credential: Credential;
}

export interface Credentials {
  /** Those that can be used, in the order in which they are to be tried. May be empty. */
  usable(): Promise<NamedCredential[]>;
  /** Entra did not accept it: until it changes it is tried last. */
  refused(which: Which): void;
  accepted(which: Which): void;
  health(): { state: 'ok' | 'degraded' | 'down'; expiries: Array<{ which: Which; at: Date }> };
}

export type CredentialConfig = NonNullable<EntraConfig['secondary']>;

class CertificateExpired extends AppError {
  readonly expiresAt: Date;

  constructor(file: string, expiresAt: Date) {
    const message = `the certificate in ${file} expired at ${expiresAt.toISOString()}`;
    super('entra_credential_unusable', 500, message);
    this.expiresAt = expiresAt;
  }
}

interface Slot {
  which: Which;
  config: CredentialConfig;
  refused: boolean;
  /** Names and times of the files that `loaded` was made of. */
  version?: string;
  loaded?: Credential;
  expiresAt?: Date;
  problem?: string;
  warnedDays?: number;
}

const dayMs = 86_400_000;
const warnDays = [30, 7, 1];

export function createCredentials(
  config: CredentialConfig & { secondary?: CredentialConfig | undefined },
  options: {
    log: Log;
    now?: () => number;
  },
): Credentials {
  const { log, now = Date.now } = options;
  const slots: Slot[] = [{ which: 'primary', config, refused: false }];
  if (config.secondary) slots.push({ which: 'secondary', config: config.secondary, refused: false });

  async function refresh(slot: Slot): Promise<void> {
    try {
      const version = await versionOf(slot.config);
      // A federated token lives for minutes or hours and is replaced in place, maybe twice within one timestamp.
      if (version !== slot.version || slot.config.federatedTokenFile !== undefined) {
        const { credential, expiresAt } = await load(slot.config, now());
        if (version !== slot.version) slot.refused = false;
        Object.assign(slot, { version, loaded: credential, expiresAt, problem: undefined, warnedDays: undefined });
      }
    } catch (error) {
      const problem = error instanceof AppError ? error.message : String(error);
      if (problem !== slot.problem) log.error('entra.credential_unusable', { which: slot.which, problem });
      // Of one that has expired it stays known when: that is the figure to be seen.
      const expiresAt = error instanceof CertificateExpired ? error.expiresAt : undefined;
      Object.assign(slot, { problem, loaded: undefined, version: undefined, expiresAt });
    }
    warnOfExpiry(slot);
  }

  function warnOfExpiry(slot: Slot): void {
    const { which, expiresAt, problem, warnedDays = Infinity } = slot;
    if (!expiresAt || problem !== undefined) return;
    const daysLeft = (expiresAt.getTime() - now()) / dayMs;
    const due = warnDays.filter((days) => daysLeft <= days && days < warnedDays).at(-1);
    if (due === undefined) return;
    slot.warnedDays = due;
    log.warn('entra.credential_expires', { which, expiresAt: expiresAt.toISOString(), daysLeft: Math.floor(daysLeft) });
  }

  // For the figure only: whether it still takes a secret is Entra's to say, and the configured date may be wrong.
  const isExpired = ({ expiresAt }: Slot) => expiresAt !== undefined && expiresAt.getTime() <= now();

  return {
    async usable() {
      for (const slot of slots) await refresh(slot);
      const inOrder = [...slots.filter(({ refused }) => !refused), ...slots.filter(({ refused }) => refused)];
      return inOrder.flatMap(({ which, loaded }) => (loaded ? [{ which, credential: loaded }] : []));
    },

    refused(which) {
      mark(which, true);
    },

    accepted(which) {
      mark(which, false);
    },

    health() {
      const good = slots.filter((slot) => slot.problem === undefined && !slot.refused && !isExpired(slot));
      const expiries = slots.flatMap(({ which, expiresAt }) => (expiresAt ? [{ which, at: expiresAt }] : []));
      return { state: good.length === 0 ? 'down' : good.length < slots.length ? 'degraded' : 'ok', expiries };
    },
  };

  function mark(which: Which, refused: boolean): void {
    for (const slot of slots) if (slot.which === which) slot.refused = refused;
  }
}

async function versionOf(config: CredentialConfig): Promise<string> {
  const { clientSecretFile, certificateFile, privateKeyFile, passphraseFile, federatedTokenFile } = config;
  const files = [clientSecretFile, certificateFile, privateKeyFile, passphraseFile, federatedTokenFile];
  const versions = await Promise.all(
    files
      .filter((file) => file !== undefined)
      .map(async (file) => {
        // Kubernetes swaps a link; what it leads to has another inode even where the time is the same.
        const { mtimeMs, size, ino } = await stat(file).catch((cause) => {
          throw unreadable(file, cause);
        });
        return [file, mtimeMs, size, ino].join(' ');
      }),
  );
  return versions.join('\n');
}

interface Loaded {
  credential: Credential;
  expiresAt?: Date;
}

async function load(config: CredentialConfig, now: number): Promise<Loaded> {
  const { clientSecret, clientSecretFile, federatedTokenFile, secretExpiresAt } = config;
  if (federatedTokenFile !== undefined) {
    return { credential: { kind: 'federated', token: await readFederatedToken(federatedTokenFile, now) } };
  }
  const secret = clientSecret ?? (clientSecretFile && (await readText(clientSecretFile)));
  if (secret !== undefined) {
    const expires = secretExpiresAt === undefined ? {} : { expiresAt: new Date(secretExpiresAt) };
    return { credential: { kind: 'secret', secret }, ...expires };
  }
  return loadCertificate(config, now);
}

async function readFederatedToken(file: string, now: number): Promise<string> {
  const token = await readText(file);
  const [, payload = ''] = token.split('.');
  const claims = parseJson(Buffer.from(payload, 'base64url').toString()) as { exp?: unknown } | undefined;
  if (typeof claims?.exp !== 'number') throw unusable(`${file} does not hold a JWT with an expiry`);
  if (claims.exp * 1000 <= now) throw unusable(`the token in ${file} has expired; whatever writes it has stopped`);
  return token;
}

const leastRsaBits = 2048;

async function loadCertificate(config: CredentialConfig, now: number): Promise<Loaded> {
  const { certificateFile = '', privateKeyFile = certificateFile } = config;
  const { key, certificate } = await readCertificate(config);

  if (key.asymmetricKeyType !== 'rsa') {
    throw unusable(`the key in ${privateKeyFile} is no RSA key, and Entra takes no other`);
  }
  if ((key.asymmetricKeyDetails?.modulusLength ?? 0) < leastRsaBits) {
    throw unusable(`the key in ${privateKeyFile} has fewer than ${leastRsaBits} bits; make a new one`);
  }
  if (!createPublicKey(key).equals(certificate.publicKey)) {
    throw unusable(`the key in ${privateKeyFile} does not belong to the certificate in ${certificateFile}`);
  }
  const expiresAt = new Date(certificate.validTo);
  if (expiresAt.getTime() <= now) {
    throw new CertificateExpired(certificateFile, expiresAt);
  }
  return {
    credential: {
      kind: 'certificate',
      thumbprint: createHash('sha256').update(certificate.raw).digest('hex'),
      // Decrypted here: MSAL's own way with an encrypted key ends in an error that names neither key nor passphrase.
      privateKey: key.export({ type: 'pkcs8', format: 'pem' }) as string,
    },
    expiresAt,
  };
}

async function readCertificate(config: CredentialConfig): Promise<KeyAndCertificate> {
  const { certificateFile = '', privateKeyFile, passphrase: given, passphraseFile } = config;
  const passphrase = given ?? (passphraseFile && (await readText(passphraseFile)));
  const bytes = await readBytes(certificateFile);
  const der = pkcs12In(bytes);
  if (der) {
    if (privateKeyFile === undefined) return readPkcs12(der, certificateFile, passphrase);
    throw unusable(`${certificateFile} is a PKCS#12 file and has its key in it; remove privateKeyFile`);
  }
  const pem = bytes.toString('latin1');
  const keyPem = privateKeyFile ? await readText(privateKeyFile) : pem;
  return {
    certificate: parseCertificate(pem, certificateFile),
    key: parsePrivateKey(keyPem, privateKeyFile ?? certificateFile, passphrase),
  };
}

function parseCertificate(pem: string, file: string): X509Certificate {
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) {
    throw unusable(`${file} is no PKCS#12 file, and holds no certificate in PEM form`);
  }
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw unusable(`the certificate in ${file} cannot be read`, cause);
  }
}

function parsePrivateKey(text: string, file: string, passphrase: string | undefined): KeyObject {
  const pem = /-----BEGIN ([A-Z ]*)PRIVATE KEY-----[\s\S]*?-----END \1PRIVATE KEY-----/.exec(text)?.[0];
  if (pem === undefined) throw unusable(`${file} holds no private key in PEM form`);
  const isEncrypted = pem.includes('ENCRYPTED');
  if (isEncrypted && passphrase === undefined) {
    throw unusable(`the key in ${file} is encrypted: set passphraseFile or passphrase`);
  }
  try {
    return createPrivateKey({ key: pem, ...(passphrase !== undefined && { passphrase }) });
  } catch (cause) {
    const failed = isEncrypted ? 'the passphrase does not open' : 'nothing can read';
    throw unusable(`${failed} the key in ${file}`, cause);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the caller says what was expected
  }
}
