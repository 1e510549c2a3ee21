import { beforeEach, describe, expect, test } from 'vitest';
import { createIdentities, type Identities } from '../../src/accounts/identities.ts';
import type { Database } from '../../src/database/database.ts';
import { createUpstreamSessions, type UpstreamSessions } from '../../src/entra/upstream-sessions.ts';
import { createSeal } from '../../src/keys/seal.ts';
import { engines } from '../support/engines.ts';

const method = 'entra';

describe.each(engines)('on $name', ({ freshDatabase }) => {
  let db: Database;
  let identities: Identities;
  let sessions: UpstreamSessions;
  let now: number;
  const lifeSeconds = 1000;
  beforeEach(async () => {
    db = await freshDatabase();
    now = 1_700_000_000_000;
    identities = createIdentities(db, () => now);
    sessions = createUpstreamSessions(db, createSeal([Buffer.alloc(32, 1)]), lifeSeconds, () => now);
    return () => db.close();
  });

  describe('identities', () => {
    const link = (externalId: string, accountId: string) =>
      identities.link(db, { method, externalId, accountId, attributes: { tid: 't' } });

    test('an identity is one account’s, however many claim it at the same moment', async () => {
      const claims = await Promise.allSettled(['a', 'b', 'c', 'd'].map((account) => link('entra|public|t|o', account)));
      expect(claims.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const claim of claims) if (claim.status === 'rejected') expect(claim.reason.code).toBe('identity_taken');
    });

    test('an account may have several, oldest first; they are found by their name, to the letter', async () => {
      await link('entra|public|t|one', 'a');
      now += 1000;
      await link('entra|public|t|two', 'a');
      const [one, two] = ['entra|public|t|one', 'entra|public|t|two'];
      expect((await identities.of('a')).map(({ externalId }) => externalId)).toEqual([one, two]);
      expect(await identities.find(method, one!)).toMatchObject({
        accountId: 'a',
        linkedAt: new Date(1_700_000_000_000),
      });
      expect(await identities.find(method, 'entra|public|T|one')).toBeUndefined();
    });

    test('what was said last is what is kept, with its time', async () => {
      await link('entra|public|t|o', 'a');
      now += 5000;
      await identities.seen(db, { method, externalId: 'entra|public|t|o', attributes: { appRoles: ['Reader'] } });
      const [identity] = await identities.list(method);
      expect(identity).toMatchObject({ attributes: { appRoles: ['Reader'] }, lastSeenAt: new Date(now) });
      expect(identity!.linkedAt.getTime()).toBe(now - 5000);
    });
  });

  describe('sessions elsewhere', () => {
    const begin = (upstreamSid: string, refreshToken?: string) =>
      sessions.open({ method, externalId: 'x', accountId: 'a', upstreamSid, ...(refreshToken && { refreshToken }) });

    test('the refresh token comes back as it went in, and stands nowhere in clear', async () => {
      const id = await begin('s1', 'a refresh token of Microsoft');
      expect((await sessions.find(id))!.refreshToken).toBe('a refresh token of Microsoft');
      expect(JSON.stringify((await db.query('select * from upstream_sessions')).rows)).not.toContain('a refresh token');
    });

    test('moved to another row it does not open', async () => {
      const [one, two] = [await begin('s1', 'token one'), await begin('s2', 'token two')];
      await db.query(
        `update upstream_sessions set sealed_refresh_token =
           (select sealed_refresh_token from upstream_sessions where id = $1) where id = $2`,
        [one, two],
      );
      await expect(sessions.find(two)).rejects.toMatchObject({ code: 'sealed_value_damaged' });
    });

    test('a check keeps the newer token, or the old one where none came, and revives nothing that ended', async () => {
      const id = await begin('s1', 'first');
      now += 10_000;
      await sessions.checked(id, 'second');
      await sessions.checked(id, undefined);
      expect(await sessions.find(id)).toMatchObject({ refreshToken: 'second', checkedAt: new Date(now) });
      expect([await sessions.end(id), await sessions.end(id)]).toEqual([true, false]);
      await sessions.checked(id, 'third');
      expect(await sessions.find(id)).toEqual(expect.objectContaining({ endedAt: new Date(now) }));
      expect(await sessions.find(id)).not.toHaveProperty('refreshToken');
    });

    test('a sign-out there is told of each session once, and of no other', async () => {
      const [one, two] = [await begin('s1'), await begin('s2')];
      expect(await sessions.signedOut(method, 's1')).toEqual([{ id: one, accountId: 'a' }]);
      expect(await sessions.signedOut(method, 's1')).toEqual([]);
      expect((await sessions.find(two))!.endedAt).toBeUndefined();
    });

    test('what is over is swept, in steps', async () => {
      for (const sid of ['s1', 's2', 's3']) await begin(sid);
      const at = now + lifeSeconds * 1000;
      expect(await sessions.sweepExpired(at - 1, 10)).toBe(0);
      expect([await sessions.sweepExpired(at, 2), await sessions.sweepExpired(at, 2)]).toEqual([2, 1]);
    });
  });
});
