import { afterAll, describe, expect, test } from 'vitest';
import { pageCsp, securityHeaders, sendPage } from '../../src/web/headers.ts';
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

describe('the headers of every answer', () => {
  test('are these, for an issuer on https', async () => {
    const url = await running(securityHeaders({ issuer: 'https://id.example.com' }), (ctx) => {
      ctx.body = {};
    });
    const { headers } = await fetch(url);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('x-frame-options')).toBe('DENY');
    expect(headers.get('referrer-policy')).toBe('no-referrer');
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(headers.get('permissions-policy')).toContain('camera=()');
    expect(headers.get('strict-transport-security')).toBe('max-age=31536000');
  });

  test('do not promise https where there is none', async () => {
    const url = await running(securityHeaders({ issuer: 'http://localhost:3000' }), (ctx) => {
      ctx.body = {};
    });
    expect((await fetch(url)).headers.get('strict-transport-security')).toBeNull();
  });

  test('leave alone what the popup of an application and a cross-origin fetch need', async () => {
    const url = await running(securityHeaders({ issuer: 'https://id.example.com' }), (ctx) => {
      ctx.body = {};
    });
    const { headers } = await fetch(url);
    expect(headers.get('cross-origin-opener-policy')).toBeNull();
    expect(headers.get('cross-origin-resource-policy')).toBeNull();
  });
});

describe('a page of ours', () => {
  test('is stored by nobody, framed by nobody, and allows no script', async () => {
    const formAction = ['https://app.example.com/cb?x=1'];
    const url = await running((ctx) => sendPage(ctx, '<h1>Hello</h1>', { status: 403, formAction }));
    const answer = await fetch(url);
    expect(answer.status).toBe(403);
    expect(await answer.text()).toBe('<h1>Hello</h1>');
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('referrer-policy')).toBe('same-origin');
    expect(answer.headers.get('content-security-policy')).toBe(
      "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' https:; " +
        "frame-ancestors 'none'; base-uri 'none'",
    );
  });

  test.each([
    ['nowhere', [], "form-action 'self'"],
    ['a web application', ['https://app.example.com/cb?a=b#c'], "form-action 'self' https:"],
    ['a port', ['http://localhost:5173/cb'], "form-action 'self' http://localhost:5173"],
    ['one origin twice', ['http://a.example/1', 'http://a.example/2'], "form-action 'self' http://a.example"],
    ['a name beyond ASCII', ['http://bücher.example/'], "form-action 'self' http://xn--bcher-kva.example"],
    ['a private-use scheme', ['com.example.app:/cb'], "form-action 'self' com.example.app:"],
    ['an IPv6 literal, which CSP cannot spell', ['http://[::1]:5173/cb'], undefined],
    ['something that would end the directive', ['https://a.example;script-src *'], undefined],
  ])('lets its form lead to %s', (_name, formAction, expected) => {
    expect(
      pageCsp({ formAction })
        .split('; ')
        .find((directive) => directive.startsWith('form-action')),
    ).toBe(expected);
    expect(pageCsp({ formAction })).not.toContain('script-src');
  });
});
