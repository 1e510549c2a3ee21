import { afterAll, describe, expect, test } from 'vitest';
import { requestId } from '../../src/web/request.ts';
import { serve } from './serve.ts';

const closers: Array<() => Promise<void>> = [];
afterAll(async () => {
  for (const close of closers.reverse()) await close();
});

async function running(...stack: Parameters<typeof serve>): Promise<string> {
  const { url, close } = await serve(...stack);
  closers.push(close);
  return url;
}

describe('the name of a request', () => {
  test('is new each time, is sent back, and is never what the client sent', async () => {
    const url = await running(requestId(), (ctx) => {
      ctx.body = { seen: ctx.state.requestId };
    });
    const ask = async () => {
      const answer = await fetch(url, { headers: { 'x-request-id': 'chosen-by-the-client' } });
      expect(await answer.json()).toEqual({ seen: answer.headers.get('x-request-id') });
      return answer.headers.get('x-request-id');
    };
    const [one, other] = [await ask(), await ask()];
    expect(one).toMatch(/^[0-9a-f]{16}$/);
    expect(one).not.toBe(other);
  });
});
