import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Audit, createAudit } from '../../src/audit/audit.ts';
import { type LogoutDelivery, startLogoutDelivery } from '../../src/backchannel-logout/delivery.ts';
import { createLogoutQueue, type LogoutNotice, type LogoutQueue } from '../../src/backchannel-logout/queue.ts';
import { type Clients, createClients } from '../../src/clients/clients.ts';
import { loadConfig } from '../../src/config/config.ts';
import type { Database } from '../../src/database/database.ts';
import { createSigner } from '../../src/keys/signer.ts';
import { createLog } from '../../src/log.ts';
import { engines } from '../support/engines.ts';
import { testKeys } from '../support/keys.ts';
import { type LogoutReceiver, startLogoutReceiver } from '../support/logout-receiver.ts';
import { decode } from '../support/user-agent.ts';

const issuer = 'http://localhost:3000';
const signer = createSigner(testKeys[0]!.publicJwk, testKeys[0]!.pkcs8);
const ada: LogoutNotice = { clientId: 'web', accountId: 'ada', sid: 'session-1' };
const hourMs = 3_600_000;

describe.each(engines)('logouts that applications are told of, on $name', ({ freshDatabase }) => {
  let db: Database;
  let now: number;
  let receiver: LogoutReceiver;
  let audit: Audit;
  let clients: Clients;
  let logouts: LogoutQueue;
  let lines: string[];
  const log = createLog('info', (line) => lines.push(line));
  const deliveries: LogoutDelivery[] = [];

  beforeEach(async () => {
    db = await freshDatabase();
    now = Date.now();
    lines = [];
    receiver = await startLogoutReceiver();
    audit = createAudit(db, { log });
    clients = createClients(db, applicationsAt(receiver.uri), audit);
    logouts = createLogoutQueue(db, clients, () => now);
  });
  afterEach(async () => {
    for (const delivery of deliveries.splice(0)) await delivery.stop();
    receiver.close();
    await audit.close();
    await db.close();
  });

  function applicationsAt(backchannelLogoutUri: string) {
    const applications = ['web', 'strict'].map((name) => ({
      clientId: name,
      name,
      type: 'web',
      secret: 'x'.repeat(32),
      redirectUris: ['https://app.example.com/callback'],
      backchannelLogoutUri,
      backchannelLogoutSessionRequired: name === 'strict',
    }));
    return loadConfig({ env: {}, values: { applications } }).applications;
  }

  const note = (...notices: LogoutNotice[]) => db.transaction((tx) => logouts.enqueue(tx, notices));

  async function server(): Promise<LogoutDelivery> {
    const delivery = await startLogoutDelivery({
      issuer,
      queue: createLogoutQueue(db, clients, () => now),
      clients,
      signer: () => signer,
      audit,
      log,
      now: () => now,
    });
    deliveries.push(delivery);
    return delivery;
  }

  const waiting = async () => (await db.query('select id from backchannel_logouts')).rowCount;
  const outcomes = async () =>
    (await audit.list())
      .filter(({ event }) => event.startsWith('logout.'))
      .map(({ event, clientId, subject, detail }) => ({ event, clientId, subject, ...detail }));

  test('an application is told once, however many servers look at the same moment', async () => {
    await note(...Array.from({ length: 60 }, (_, at) => ({ ...ada, sid: `session-${at}` })));
    const servers = await Promise.all([server(), server(), server()]);
    await Promise.all(servers.map((each) => each.poll()));
    await expect.poll(waiting).toBe(0);
    const told = receiver.received.map(({ token }) => decode(token).payload.sid);
    expect(told.toSorted()).toEqual([...new Set(told)].toSorted());
    expect(told).toHaveLength(60);
  });

  test('it is told what the specification says, in a form that is nothing else', async () => {
    await note(ada);
    await (await server()).poll();
    const [{ method, headers, form, token }] = receiver.received as [(typeof receiver.received)[0]];
    expect({ method, type: headers['content-type']?.split(';')[0], names: [...form.keys()] }).toEqual({
      method: 'POST',
      type: 'application/x-www-form-urlencoded',
      names: ['logout_token'],
    });
    const { header, payload } = decode(token);
    expect(header).toEqual({ alg: 'RS256', typ: 'logout+jwt', kid: signer.kid });
    const iat = Math.floor(now / 1000) - 5;
    expect(payload).toEqual({
      iss: issuer,
      aud: 'web',
      sub: 'ada',
      sid: 'session-1',
      iat,
      exp: iat + 120,
      jti: expect.any(String),
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    });
    expect(await outcomes()).toEqual([{ event: 'logout.delivered', clientId: 'web', subject: 'ada', tries: 1 }]);
  });

  test('without a session, only whoever can do with that is told', async () => {
    await note({ clientId: 'web', accountId: 'ada' }, { clientId: 'strict', accountId: 'ada' });
    await (await server()).poll();
    expect(receiver.received.map(({ token }) => decode(token).payload)).toEqual([
      expect.objectContaining({ aud: 'web', sub: 'ada' }),
    ]);
    expect(decode(receiver.received[0]!.token).payload).not.toHaveProperty('sid');
  });

  test('nobody is told where the transaction of the cause fails, nor who does not want to be', async () => {
    await expect(
      db.transaction(async (tx) => {
        await logouts.enqueue(tx, [ada]);
        throw new Error('the cause failed');
      }),
    ).rejects.toThrow('the cause failed');
    await note({ ...ada, clientId: 'unheard of' });
    expect(await waiting()).toBe(0);
  });

  test.each([500, 503, 429])('answered %i, it is told again, two more times and then no more', async (status) => {
    receiver.answer = (_request, response) => response.writeHead(status).end();
    const { poll: look } = await server();
    await note(ada);
    for (const [aheadMs, times] of [
      [0, 1],
      [4_000, 1],
      [1_000, 2],
      [59_000, 2],
      [1_000, 3],
      [hourMs, 3],
    ] as const) {
      now += aheadMs;
      await look();
      expect(receiver.received).toHaveLength(times);
    }
    expect(new Set(receiver.received.map(({ token }) => decode(token).payload.jti)).size).toBe(3);
    const [told] = await outcomes();
    expect(told).toEqual({
      event: 'logout.undelivered',
      clientId: 'web',
      subject: 'ada',
      error: `http_${status}`,
      tries: 3,
    });
    expect(lines.filter((line) => line.includes('"logout.undelivered"'))).toHaveLength(1);
    expect(await waiting()).toBe(0);
  });

  test('told at the second try, it is told', async () => {
    const { poll: look } = await server();
    receiver.answer = (request) => request.socket.destroy();
    await note(ada);
    await look();
    receiver.answer = (_request, response) => response.writeHead(204).end();
    now += 5_000;
    await look();
    expect(await outcomes()).toEqual([{ event: 'logout.delivered', clientId: 'web', subject: 'ada', tries: 2 }]);
  });

  test.each([302, 307, 400, 401, 404, 206])('answered %i, it is told once, and no other address is', async (status) => {
    const elsewhere = await startLogoutReceiver();
    receiver.answer = (_request, response) => response.writeHead(status, { Location: elsewhere.uri }).end('no');
    await note(ada);
    const { poll: look } = await server();
    await look();
    now += hourMs;
    await look();
    expect([receiver.received.length, elsewhere.received.length]).toEqual([1, 0]);
    expect(await outcomes()).toMatchObject([{ event: 'logout.undelivered', error: `http_${status}`, tries: 1 }]);
    elsewhere.close();
  });

  test('one that cannot be reached is tried again', async () => {
    receiver.close();
    const { poll: look } = await server();
    await note(ada);
    for (const aheadMs of [0, 5_000, 60_000]) {
      now += aheadMs;
      await look();
    }
    expect(await outcomes()).toMatchObject([{ event: 'logout.undelivered', error: 'econnrefused', tries: 3 }]);
  });

  test('one that begins to answer and never ends is not listened to', async () => {
    const endless = createServer((_request, response) => {
      response.writeHead(200);
      const write = () => {
        while (response.write('x'.repeat(65_536)));
      };
      response.on('drain', write);
      write();
    });
    await new Promise<void>((resolve) => endless.listen(0, '127.0.0.1', resolve));
    const uri = `http://127.0.0.1:${(endless.address() as AddressInfo).port}/`;
    clients = createClients(db, applicationsAt(uri), audit);
    await note(ada);
    await (await server()).poll();
    expect(await outcomes()).toMatchObject([{ event: 'logout.delivered' }]);
    endless.closeAllConnections();
    endless.close();
  });

  test('one that says nothing is given up after seconds, and holds up no other', async () => {
    receiver.answer = (_request, response) => {
      if (decode(receiver.received.at(-1)!.token).payload.aud === 'strict') response.end();
    };
    await note(ada, { ...ada, clientId: 'strict' });
    await (await server()).poll();
    expect(await outcomes()).toMatchObject([{ event: 'logout.delivered', clientId: 'strict' }]);
    expect(receiver.received).toHaveLength(2);
    expect(await waiting()).toBe(1); // for another try
  });

  test('what a server was about when it ended, the next one takes up', async () => {
    receiver.answer = () => {};
    await note(ada);
    const first = await server();
    void first.poll();
    await expect.poll(() => receiver.received.length).toBe(1);
    await first.stop();
    expect(await outcomes()).toEqual([]);
    receiver.answer = (_request, response) => response.end();
    now += 30_000;
    await (await server()).poll();
    expect(receiver.received).toHaveLength(2);
    expect(await outcomes()).toMatchObject([{ event: 'logout.delivered', tries: 2 }]);
  });

  test('an application that was taken out of the configuration meanwhile is forgotten', async () => {
    await note(ada);
    clients = createClients(db, [], audit);
    await (await server()).poll();
    expect([await waiting(), receiver.received, await outcomes()]).toEqual([0, [], []]);
  });

  test('while the database is away it is said once, and afterwards all are told', async () => {
    await note(ada);
    let away = true;
    const real = createLogoutQueue(db, clients, () => now);
    const delivery = await startLogoutDelivery({
      issuer,
      clients,
      signer: () => signer,
      audit,
      log,
      now: () => now,
      queue: { ...real, nextDue: () => (away ? Promise.reject(new Error('the database is gone')) : real.nextDue()) },
    });
    deliveries.push(delivery);
    for (let times = 0; times < 3; times += 1) await delivery.poll();
    expect(lines.filter((line) => line.includes('"logouts.failed"'))).toHaveLength(1);
    away = false;
    await delivery.poll();
    expect(receiver.received).toHaveLength(1);
  });
});
