// A certificate and its key from one PKCS#12 file (.pfx, .p12; RFC 7292), as OpenSSL, Windows and Azure Key Vault write
// it. Node opens such files for TLS alone and gives nothing of them out, and its OpenSSL knows no RC2, in which
// `openssl pkcs12 -legacy` encrypts certificates. So node-forge opens them; everything after that is node:crypto.

import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import type forge from 'node-forge';
import { unusable } from './credential-files.ts';

export interface KeyAndCertificate {
  key: KeyObject;
  /** That of the key, where there is one; certificates of those who issued it may be in the file, too. */
  certificate: X509Certificate;
}

/** The file itself, or in base64, as Azure Key Vault hands it out. Undefined: it is neither. */
export function pkcs12In(bytes: Buffer): Buffer | undefined {
  const text = bytes.toString('latin1');
  const der = /^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(text) ? Buffer.from(text, 'base64') : bytes;
  const sequence = 0x30;
  return der[0] === sequence ? der : undefined;
}

/**
 * @param der what `pkcs12In` found
 * @param file its name, for messages
 * @throws {AppError} entra_credential_unusable
 */
export async function readPkcs12(der: Buffer, file: string, passphrase?: string): Promise<KeyAndCertificate> {
  const { keys, certificates } = await openedBy(der, file, passphrase);
  const [key, ...others] = keys;
  if (!key) throw unusable(`${file} holds no private key; export the certificate together with its key`);
  if (others.length > 0) throw unusable(`${file} holds ${keys.length} private keys; which is meant, nobody can tell`);
  const publicKey = createPublicKey(key);
  const certificate = certificates.find((one) => publicKey.equals(one.publicKey)) ?? certificates[0];
  if (!certificate) throw unusable(`${file} holds no certificate`);
  return { key, certificate };
}

interface Opened {
  keys: KeyObject[];
  certificates: X509Certificate[];
}

async function openedBy(der: Buffer, file: string, passphrase: string | undefined): Promise<Opened> {
  const { default: forge } = await import('node-forge');
  const openWith = (password: string | undefined, { verifyMac = true } = {}) => {
    const form = forge.asn1.fromDer(der.toString('latin1'));
    if (!verifyMac) (form.value as forge.asn1.Asn1[]).splice(2); // PFX: version, authSafe, macData (RFC 7292 §4)
    const { safeContents } = forge.pkcs12.pkcs12FromAsn1(form, password);
    return contentsOf(
      safeContents.flatMap(({ safeBags }) => safeBags),
      forge,
    );
  };

  // No passphrase is an empty one to some programs and none to others; OpenSSL, too, tries both.
  const passwords = passphrase === undefined ? ['', undefined] : [passphrase];
  let problem: unknown;
  for (const password of passwords) {
    try {
      return openWith(password);
    } catch (error) {
      problem = error;
    }
  }
  if (problem instanceof Error && problem.message.includes('MAC could not be verified')) {
    throw unusable(
      passphrase === undefined
        ? `${file} is encrypted: set passphraseFile or passphrase`
        : `the passphrase does not open ${file}`,
      problem,
    );
  }
  try {
    // The MAC was right. It takes a password as UTF-16, and PBES2 the same one as UTF-8 (RFC 7292 §B.1, RFC 8018 §3).
    if (passphrase !== undefined) return openWith(Buffer.from(passphrase).toString('latin1'), { verifyMac: false });
  } catch (error) {
    problem = error;
  }
  throw unusable(`${file} is no PKCS#12 file that can be read here`, problem);
}

function contentsOf(bags: forge.pkcs12.Bag[], { pki, asn1 }: typeof forge): Opened {
  // Of keys and certificates that are not RSA it tells only what they are made of.
  const derOf = (form: forge.asn1.Asn1) => Buffer.from(asn1.toDer(form).getBytes(), 'latin1');
  const isCertificate = ({ type }: forge.pkcs12.Bag) => type === pki.oids['certBag'];
  return {
    keys: bags
      .filter((bag) => !isCertificate(bag))
      .map(({ key, asn1: form }) =>
        createPrivateKey(key ? pki.privateKeyToPem(key) : { key: derOf(form), format: 'der', type: 'pkcs8' }),
      ),
    certificates: bags
      .filter(isCertificate)
      .map(({ cert, asn1: form }) => new X509Certificate(derOf(cert ? pki.certificateToAsn1(cert) : form))),
  };
}
