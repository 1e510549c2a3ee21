import { createPrivateKey, generateKeyPairSync, randomUUID } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { signJwt } from '../../entra-sim/id-token.ts';
import { type EntraSim, startEntraSim } from '../../entra-sim/index.ts';
import { type CredentialConfig, createCredentials } from '../../src/entra/credentials.ts';
import { createLog } from '../../src/log.ts';
import { noteSecret } from '../support/secrets.ts';
import { type Rig, startRig } from './rig.ts';

let sim: EntraSim;
let directory: string;
const rigs: Rig[] = [];
beforeAll(async () => {
  sim = await startEntraSim();
  directory = mkdtempSync(join(tmpdir(), 'signet-credentials-'));
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

const file = (name: string, content: string | Buffer) => {
  const path = join(directory, name);
  // As Kubernetes does: the new file takes the place of the old one at once.
  writeFileSync(`${path}.new`, content);
  renameSync(`${path}.new`, path);
  return path;
};
const encrypted = (key: string, passphrase: string) =>
  createPrivateKey(key).export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase }) as string;
const start = async (config: Record<string, unknown>) => {
  const rig = await startRig(sim, { config });
  rigs.push(rig);
  return rig;
};
const assertionHeader = () =>
  JSON.parse(
    Buffer.from(sim.requests('token').at(-1)!.form.get('client_assertion')!.split('.')[0]!, 'base64url').toString(),
  );

describe('E24 a certificate', () => {
  test('signs the assertion with PS256 under its SHA-256 thumbprint', async () => {
    const { certificate, key } = await sim.app.newCertificate();
    const rig = await start({ certificateFile: file('cert.pem', certificate), privateKeyFile: file('key.pem', key) });
    await rig.identify();
    expect(assertionHeader()).toMatchObject({ alg: 'PS256', 'x5t#S256': expect.any(String) });
    expect(sim.requests('token').at(-1)!.form.has('client_secret')).toBe(false);
    expect(rig.connector.health().expiries).toEqual([{ which: 'primary', at: expect.any(Date) }]);
  });

  test('and its key may be in one file', async () => {
    const { certificate, key } = await sim.app.newCertificate();
    await (await start({ certificateFile: file('both.pem', `${key}\n${certificate}`) })).identify();
  });

  test.each([
    ['passphrase', (phrase: string) => ({ passphrase: phrase })],
    ['passphraseFile', (phrase: string) => ({ passphraseFile: file('phrase', `${phrase}\n`) })],
    [
      'passphraseFile as PowerShell writes it',
      (phrase: string) => ({ passphraseFile: file('phrase', Buffer.from(`\ufeff${phrase}\r\n`, 'utf16le')) }),
    ],
  ])('with an encrypted key is opened by %s', async (_name, given) => {
    const { certificate, key } = await sim.app.newCertificate();
    const phrase = randomUUID();
    noteSecret('passphrase', phrase);
    const privateKeyFile = file('k.pem', encrypted(key, phrase));
    const certificateFile = file('cert.pem', certificate);
    await (await start({ certificateFile, privateKeyFile, ...given(phrase) })).identify();
  });

  const unusable: Array<[string, () => Promise<Record<string, unknown>>, RegExp]> = [
    [
      'whose key is encrypted, without a passphrase',
      async () => {
        const { certificate, key } = await sim.app.newCertificate();
        return { certificateFile: file('cert.pem', certificate), privateKeyFile: file('k.pem', encrypted(key, 'x')) };
      },
      /is encrypted: set passphraseFile/,
    ],
    [
      'whose passphrase is wrong',
      async () => {
        const { certificate, key } = await sim.app.newCertificate();
        const privateKeyFile = file('k.pem', encrypted(key, 'x'));
        return { certificateFile: file('cert.pem', certificate), privateKeyFile, passphrase: 'y' };
      },
      /passphrase does not open/,
    ],
    [
      'whose key is of another',
      async () => {
        const [{ certificate }, { key }] = [await sim.app.newCertificate(), await sim.app.newCertificate()];
        return { certificateFile: file('cert.pem', certificate), privateKeyFile: file('k.pem', key) };
      },
      /does not belong to the certificate/,
    ],
    [
      'whose key is an elliptic curve',
      async () => {
        const { certificate } = await sim.app.newCertificate();
        const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
        const key = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
        return { certificateFile: file('cert.pem', certificate), privateKeyFile: file('k.pem', key) };
      },
      /no RSA key/,
    ],
    [
      'whose key is short',
      async () => {
        const { certificate } = await sim.app.newCertificate();
        const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
        const key = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
        return { certificateFile: file('cert.pem', certificate), privateKeyFile: file('k.pem', key) };
      },
      /fewer than 2048 bits/,
    ],
    [
      'that has expired',
      async () => {
        const { certificate, key } = await sim.app.newCertificate({ expired: true });
        return { certificateFile: file('cert.pem', certificate), privateKeyFile: file('k.pem', key) };
      },
      /expired at/,
    ],
    [
      'that is no certificate',
      async () => ({ certificateFile: file('text.pem', 'hello') }),
      /holds no certificate in PEM form/,
    ],
    ['that is not there', async () => ({ certificateFile: join(directory, 'gone.pem') }), /cannot be read \(ENOENT\)/],
    ['that is empty', async () => ({ certificateFile: file('empty.pem', '') }), /is empty/],
  ];

  test.each(unusable)('%s is told at the start, and the person hears nothing of it', async (_name, make, message) => {
    const rig = await start(await make());
    await expect.poll(() => rig.logged()).toMatch(message);
    expect(rig.connector.health().state).toBe('down');
    const answer = await rig.agent().request('/begin/uid');
    expect(answer.status).toBe(503);
    expect(answer.body).not.toContain(directory);
    expect(answer.body).not.toMatch(/at .*\.ts/);
    expect(rig.failures).toMatchObject([{ failure: 'credential', downstream: 'temporarily_unavailable' }]);
    expect(sim.requests()).toEqual([]);
  });
});

describe('E24 a federated token', () => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const cluster = { issuer: 'https://oidc.cluster.example', subject: 'system:serviceaccount:signet:signet' };
  const tokenFor = (claims: object = {}) =>
    signJwt(
      { alg: 'RS256', typ: 'JWT', kid: 'x' },
      {
        iss: cluster.issuer,
        sub: cluster.subject,
        aud: 'api://AzureADTokenExchange',
        exp: Math.floor(Date.now() / 1000) + 600,
        ...claims,
      },
      privateKey,
    );

  test('is read from its file at every sign-in', async () => {
    sim.app.federate({ ...cluster, publicKey });
    const first = tokenFor();
    const rig = await start({ federatedTokenFile: file('token', `${first}\n`) });
    await rig.identify();
    expect(sim.requests('token').at(-1)!.form.get('client_assertion')).toBe(first);
    const second = tokenFor({ jti: '2' });
    noteSecret('assertion', second);
    file('token', second);
    await rig.identify();
    expect(sim.requests('token').at(-1)!.form.get('client_assertion')).toBe(second);
  });

  test.each([
    ['missing', () => join(directory, 'gone'), /ENOENT/],
    ['empty', () => file('token', ''), /is empty/],
    ['no token', () => file('token', 'hello'), /does not hold a JWT/],
    ['expired', () => file('token', tokenFor({ exp: 1 })), /has expired; whatever writes it has stopped/],
  ])('that is %s is told to the operator', async (_name, make, message) => {
    const rig = await start({ federatedTokenFile: make() });
    await expect.poll(() => rig.logged()).toMatch(message);
    expect(rig.connector.health().state).toBe('down');
  });

  test('of another subject is refused by Entra as a misconfiguration', async () => {
    const rig = await start({ federatedTokenFile: file('token', tokenFor({ sub: 'somebody-else' })) });
    await rig.signIn();
    expect(rig.failures).toMatchObject([{ failure: 'credential', facts: { numbers: [70021] } }]);
  });
});

describe('E25 two credentials', () => {
  test('the second steps in within one sign-in when the first has expired, and an operator is told', async () => {
    const old = sim.app.addSecret();
    const rig = await start({ clientSecret: old, secondary: { clientSecret: sim.app.addSecret() } });
    noteSecret('client secret', old);
    sim.app.expireSecret(old);
    await rig.identify();
    expect(rig.logged()).toContain('"entra.credential_refused","which":"primary","numbers":[7000222]');
    expect(rig.connector.health().state).toBe('degraded');
    // From then on it goes first: nobody waits for what is known to fail.
    await rig.identify();
    expect(sim.requests('token')).toHaveLength(3);
    sim.app.removeSecret(old);
  });

  test('are changed under load, one after the other, and everybody gets in', async () => {
    const [first, second, third] = [sim.app.addSecret(), sim.app.addSecret(), sim.app.addSecret()];
    const rig = await start({
      clientSecretFile: file('primary', first),
      secondary: { clientSecretFile: file('secondary', second) },
    });
    const load = async (count: number) => {
      await Promise.all(Array.from({ length: count }, () => rig.signIn()));
      return rig.completed.splice(0).length;
    };
    expect(await load(4)).toBe(4);
    sim.app.expireSecret(first);
    expect(await load(4)).toBe(4);
    file('primary', third);
    expect(await load(4)).toBe(4);
    expect(rig.connector.health().state).toBe('ok');
    sim.app.expireSecret(second);
    expect(await load(4)).toBe(4);
    for (const secret of [first, second, third]) sim.app.removeSecret(secret);
  });

  test('that are both bad end the sign-in, after one try of each', async () => {
    const rig = await start({ clientSecret: 'not-the-secret-one', secondary: { clientSecret: 'not-the-secret-two' } });
    const answer = await rig.signIn();
    expect(rig.failures).toMatchObject([{ failure: 'credential', facts: { numbers: [7000215] } }]);
    expect(answer.body).toContain('misconfigured');
    expect(answer.body).not.toContain('7000215');
    expect(sim.requests('token')).toHaveLength(2);
    expect(rig.connector.health().state).toBe('down');
  });

  test('the second is not tried for what has nothing to do with credentials', async () => {
    const rig = await start({ secondary: { clientSecret: sim.app.secret } });
    sim.fault('token', { aadsts: 50105 });
    await rig.signIn();
    expect(sim.requests('token')).toHaveLength(1);
  });

  test('a secret and a certificate may stand in for each other', async () => {
    const { certificate, key } = await sim.app.newCertificate();
    const rig = await start({
      certificateFile: file('both.pem', `${key}\n${certificate}`),
      secondary: { clientSecret: sim.app.secret },
    });
    sim.app.unregisterCertificate(certificate);
    await rig.identify();
    expect(rig.logged()).toContain('"numbers":[700027]');
  });
});

describe('E26 an expiry', () => {
  const events = (config: CredentialConfig, days: number[]) => {
    const lines: string[] = [];
    let now = Date.now();
    const log = createLog('debug', (line) => lines.push(line));
    const credentials = createCredentials(config, { log, now: () => now });
    return (async () => {
      const states = [];
      for (const day of days) {
        now = Date.parse('2027-01-31T00:00:00Z') - day * 86_400_000;
        await credentials.usable();
        states.push(credentials.health().state);
      }
      return { states, expiries: credentials.health().expiries, told: lines.map((line) => JSON.parse(line)) };
    })();
  };

  test('is told thirty, seven and one day before, once each, and is a figure all the time', async () => {
    const daysBefore = [40, 31, 29, 20, 6.5, 3, 0.5, 0.2, -1];
    const secret = { clientSecret: 'x', secretExpiresAt: '2027-01-31' };
    const { states, expiries, told } = await events(secret, daysBefore);
    expect(told.map(({ event, daysLeft }) => [event, daysLeft])).toEqual([
      ['entra.credential_expires', 29],
      ['entra.credential_expires', 6],
      ['entra.credential_expires', 0],
    ]);
    expect(expiries).toEqual([{ which: 'primary', at: new Date('2027-01-31') }]);
    expect(states).toEqual([...Array(8).fill('ok'), 'down']);
  });

  test('that is past at the start stops nothing, and Entra is still asked: the date may be wrong', async () => {
    const rig = await start({ secretExpiresAt: '2020-01-01' });
    await expect.poll(() => rig.connector.health().state).toBe('down');
    await rig.identify();
  });
});
