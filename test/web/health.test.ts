import { expect, onTestFinished, test } from 'vitest';
import { type HealthParts, healthRoutes } from '../../src/web/health.ts';
import { send, serve } from './serve.ts';

async function start(parts: Partial<HealthParts>): Promise<() => Promise<{ status: number; text: string }>> {
  const app = await serve(healthRoutes({ database: async () => true, keys: () => ({ ok: true }), ...parts }));
  onTestFinished(() => app.close());
  return () => send(app.url, { path: '/health/ready' });
}

test('when the credential for Microsoft ends is nobody’s business but the operator’s', async () => {
  const entra = () => ({ state: 'degraded', isHeldBack: true, expiries: [{ which: 'primary', at: new Date() }] });
  const { status, text } = await (await start({ entra }))();
  expect([status, JSON.parse(text).entra]).toEqual([200, { state: 'degraded' }]);
});

test('keys that cannot be used make the server unready, and Microsoft does not', async () => {
  const entra = () => ({ state: 'down' });
  expect((await (await start({ entra }))()).status).toBe(200);
  expect((await (await start({ keys: () => ({ ok: false }) }))()).status).toBe(503);
});
