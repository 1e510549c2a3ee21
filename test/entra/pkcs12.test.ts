// What OpenSSL writes, it has to write here: the files are made by its command line, not by what reads them.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import forge from 'node-forge';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type EntraSim, startEntraSim } from '../../entra-sim/index.ts';
import { noteSecret } from '../support/secrets.ts';
import { type Rig, startRig } from './rig.ts';

let sim: EntraSim;
let directory: string;
const rigs: Rig[] = [];
beforeAll(async () => {
  sim = await startEntraSim();
  directory = mkdtempSync(join(tmpdir(), 'signet-pkcs12-'));
});
afterAll(async () => {
  await sim.close();
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  sim.reset();
  sim.signInAs('alice');
  return async () => {
    for (const rig of rigs.splice(0)) await rig.close();
  };
});

const at = (name: string) => join(directory, name);
const openssl = (...args: string[]) => void execFileSync('openssl', args, { stdio: 'pipe' });
/** The files of a certificate that Entra knows, and its thumbprint as the assertion names it. */
async function registered(name: string, options: { expired?: boolean } = {}) {
  const { certificate, key, thumbprintSha256 } = await sim.app.newCertificate(options);
  writeFileSync(at(`${name}.crt`), certificate);
  writeFileSync(at(`${name}.key`), key);
  return { name, certificate, key, thumbprint: Buffer.from(thumbprintSha256, 'hex').toString('base64url') };
}
function exported(name: string, passphrase: string, ...options: string[]): string {
  noteSecret('passphrase', passphrase);
  openssl(
    'pkcs12',
    '-export',
    '-in',
    at(`${name}.crt`),
    '-inkey',
    at(`${name}.key`),
    '-passout',
    `pass:${passphrase}`,
    '-out',
    at(`${name}.new`),
    ...options,
  );
  renameSync(at(`${name}.new`), at(`${name}.pfx`));
  return at(`${name}.pfx`);
}
const start = async (config: Record<string, unknown>) => {
  const rig = await startRig(sim, { config });
  rigs.push(rig);
  return rig;
};
const thumbprintSent = () =>
  (
    JSON.parse(
      Buffer.from(sim.requests('token').at(-1)!.form.get('client_assertion')!.split('.')[0]!, 'base64url').toString(),
    ) as Record<string, string>
  )['x5t#S256'];

const tripleDes = ['-keypbe', 'PBE-SHA1-3DES', '-certpbe', 'PBE-SHA1-3DES', '-macalg', 'SHA1'];

describe('E24 a PKCS#12 file', () => {
  test.each([
    ['OpenSSL 3 writes unasked (PBES2 with AES, MAC with SHA-256)', []],
    ['OpenSSL writes with -legacy (RC2 and 3DES, MAC with SHA-1)', ['-legacy']],
    ['Windows and older programs write (3DES, MAC with SHA-1)', tripleDes],
    ['somebody wrote with AES-128 and a MAC with SHA-512', ['-keypbe', 'AES-128-CBC', '-macalg', 'SHA512']],
    ['somebody wrote without encrypting the certificate', ['-certpbe', 'NONE']],
  ])('as %s signs people in', async (_name, options) => {
    const { thumbprint } = await registered('plain');
    const certificateFile = exported('plain', 'open-sesame', ...options);
    const rig = await start({ certificateFile, passphrase: 'open-sesame' });
    await rig.identify();
    expect(thumbprintSent()).toBe(thumbprint);
    expect(rig.connector.health()).toMatchObject({ state: 'ok', expiries: [{ which: 'primary' }] });
  });

  test('takes its passphrase from a file, and one with letters beyond ASCII', async () => {
    await registered('umlaut');
    writeFileSync(at('phrase'), 'Öffne-dich-für-5-€\n');
    for (const options of [[], ['-legacy']]) {
      const certificateFile = exported('umlaut', 'Öffne-dich-für-5-€', ...options);
      await (await start({ certificateFile, passphraseFile: at('phrase') })).identify();
    }
  });

  test('without a passphrase, in base64, is what Azure Key Vault hands out', async () => {
    await registered('vault');
    const pfx = exported('vault', '', ...tripleDes);
    await (await start({ certificateFile: pfx })).identify();
    writeFileSync(at('vault.base64'), `${readFileSync(pfx).toString('base64')}\n`);
    await (await start({ certificateFile: at('vault.base64') })).identify();
  });

  test('may have been written with no passphrase at all, which is not an empty one', async () => {
    const { certificate, key } = await registered('none');
    const { pki, pkcs12, asn1 } = forge;
    const written = pkcs12.toPkcs12Asn1(pki.privateKeyFromPem(key), pki.certificateFromPem(certificate), null, {
      algorithm: '3des',
    });
    writeFileSync(at('none.pfx'), Buffer.from(asn1.toDer(written).getBytes(), 'latin1'));
    await (await start({ certificateFile: at('none.pfx') })).identify();
  });

  test('with the certificates of those who issued it: its own is the one of its key', async () => {
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '9',
      '-subj',
      '/CN=An issuer',
      '-keyout',
      at('ca.key'),
      '-out',
      at('ca.crt'),
    );
    openssl(
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '9',
      '-CA',
      at('ca.crt'),
      '-CAkey',
      at('ca.key'),
      '-subj',
      '/CN=signet für alle',
      '-utf8',
      '-addext',
      'subjectAltName=DNS:id.example',
      '-keyout',
      at('issued.key'),
      '-out',
      at('issued.crt'),
    );
    sim.app.registerCertificate(readFileSync(at('issued.crt'), 'utf8'));
    const certificateFile = exported('issued', 'open-sesame', '-certfile', at('ca.crt'));
    await (await start({ certificateFile, passphrase: 'open-sesame' })).identify();
  });

  const unusable: Array<[string, () => Promise<Record<string, unknown>>, RegExp]> = [
    [
      'whose passphrase is wrong',
      async () => {
        await registered('refused');
        return { certificateFile: exported('refused', 'open-sesame'), passphrase: 'close-sesame' };
      },
      /the passphrase does not open .*refused\.pfx/,
    ],
    [
      'that has a passphrase, and none is set',
      async () => {
        await registered('refused');
        return { certificateFile: exported('refused', 'open-sesame') };
      },
      /refused\.pfx is encrypted: set passphraseFile or passphrase/,
    ],
    [
      'without a key',
      async () => {
        await registered('refused');
        return { certificateFile: exported('refused', 'open-sesame', '-nokeys'), passphrase: 'open-sesame' };
      },
      /holds no private key; export the certificate together with its key/,
    ],
    [
      'with two keys',
      async () => {
        // OpenSSL writes one; two have to be put together by hand.
        const { pki, pkcs12, asn1 } = forge;
        const safes = (await Promise.all(['one', 'two'].map((name) => registered(name)))).map(({ key, certificate }) =>
          pkcs12.toPkcs12Asn1(pki.privateKeyFromPem(key), pki.certificateFromPem(certificate), '', { useMac: false }),
        );
        const contents = (pfx: forge.asn1.Asn1) => {
          const octets = ((pfx.value[1] as forge.asn1.Asn1).value[1] as forge.asn1.Asn1).value[0] as forge.asn1.Asn1;
          return { octets, list: asn1.fromDer(octets.value as string).value as forge.asn1.Asn1[] };
        };
        const both = safes.flatMap((safe) => contents(safe).list);
        contents(safes[0]!).octets.value = asn1
          .toDer(asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, both))
          .getBytes();
        writeFileSync(at('two.pfx'), Buffer.from(asn1.toDer(safes[0]!).getBytes(), 'latin1'));
        return { certificateFile: at('two.pfx') };
      },
      /holds 2 private keys/,
    ],
    [
      'whose key is an elliptic curve',
      async () => {
        openssl(
          'req',
          '-x509',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:P-256',
          '-nodes',
          '-days',
          '9',
          '-subj',
          '/CN=curve',
          '-keyout',
          at('curve.key'),
          '-out',
          at('curve.crt'),
        );
        return { certificateFile: exported('curve', 'open-sesame'), passphrase: 'open-sesame' };
      },
      /the key in .*curve\.pfx is no RSA key/,
    ],
    [
      'whose key is of another certificate',
      async () => {
        const [, other] = [await registered('refused'), await registered('other')];
        const { pki, pkcs12, asn1 } = forge;
        const mixed = pkcs12.toPkcs12Asn1(
          pki.privateKeyFromPem(other.key),
          pki.certificateFromPem(readFileSync(at('refused.crt'), 'utf8')),
          'open-sesame',
        );
        writeFileSync(at('mixed.pfx'), Buffer.from(asn1.toDer(mixed).getBytes(), 'latin1'));
        return { certificateFile: at('mixed.pfx'), passphrase: 'open-sesame' };
      },
      /the key in .*mixed\.pfx does not belong to the certificate/,
    ],
    [
      'that has expired',
      async () => {
        await registered('old', { expired: true });
        return { certificateFile: exported('old', 'open-sesame'), passphrase: 'open-sesame' };
      },
      /the certificate in .*old\.pfx expired at/,
    ],
    [
      'beside which a key is configured',
      async () => {
        await registered('refused');
        const certificateFile = exported('refused', 'open-sesame');
        return { certificateFile, privateKeyFile: at('refused.key'), passphrase: 'open-sesame' };
      },
      /is a PKCS#12 file and has its key in it; remove privateKeyFile/,
    ],
    [
      'that was cut off',
      async () => {
        await registered('refused');
        writeFileSync(at('cut.pfx'), readFileSync(exported('refused', 'open-sesame')).subarray(0, 900));
        return { certificateFile: at('cut.pfx'), passphrase: 'open-sesame' };
      },
      /cut\.pfx is no PKCS#12 file that can be read here/,
    ],
    [
      'that is a certificate without PEM around it',
      async () => {
        await registered('refused');
        openssl('x509', '-in', at('refused.crt'), '-outform', 'DER', '-out', at('der.cer'));
        return { certificateFile: at('der.cer') };
      },
      /der\.cer is no PKCS#12 file that can be read here/,
    ],
  ];

  test.each(unusable)('%s is told at the start, and the person hears nothing of it', async (_name, make, message) => {
    const rig = await start(await make());
    await expect.poll(() => rig.logged()).toMatch(message);
    expect(rig.logged()).not.toMatch(/at .*\.[jt]s:\d+/);
    expect(rig.connector.health().state).toBe('down');
    const answer = await rig.agent().request('/begin/uid');
    expect(answer.status).toBe(503);
    expect(answer.body).not.toContain(directory);
    expect(rig.failures).toMatchObject([{ failure: 'credential', downstream: 'temporarily_unavailable' }]);
    expect(sim.requests()).toEqual([]);
  });
});

describe('E25 a PKCS#12 file', () => {
  test('that another takes the place of is read again, and a broken one is told and replaced in turn', async () => {
    const first = await registered('changing');
    const rig = await start({ certificateFile: exported('changing', 'open-sesame'), passphrase: 'open-sesame' });
    await rig.identify();
    expect(thumbprintSent()).toBe(first.thumbprint);

    const second = await registered('changing');
    exported('changing', 'open-sesame', '-legacy');
    sim.app.unregisterCertificate(first.certificate);
    await rig.identify();
    expect(thumbprintSent()).toBe(second.thumbprint);

    exported('changing', 'close-sesame');
    expect((await rig.agent().request('/begin/uid')).status).toBe(503);
    expect(rig.logged()).toContain('the passphrase does not open');
    exported('changing', 'open-sesame');
    await rig.identify();
    expect(rig.connector.health().state).toBe('ok');
  });
});
