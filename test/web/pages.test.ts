import { describe, expect, test } from 'vitest';
import type { Pages } from '../../src/web/pages.ts';
import { createPages } from '../../src/web/pages.ts';
import type { Element } from './html.ts';
import { elementsOf, textOf } from './html.ts';

const pages = createPages({ branding: { name: 'Acme', color: '#1f5eff' }, issuer: 'https://id.example.com' });
// As oidc-provider writes it (lib/actions/end_session.js).
const logoutForm =
  '<form id="op.logoutForm" method="post" action="https://id.example.com/session/end/confirm">' +
  '<input type="hidden" name="xsrf" value="abc"/></form>';
const handedOn = {
  action: 'https://id.example.com/session/end/confirm',
  fields: '<input type="hidden" name="xsrf" value="abc"/>',
};
const hostile = `<script>alert(1)</script>"'&<img src=x onerror=alert(1)>`;

// Each page in each of its states, every text in it being `text`.
function everyPage(text: string, from: Pages = pages): Record<string, string> {
  const asked = { action: `/interaction/${text}`, application: text };
  return {
    'sign-in': from.signIn(asked),
    'sign-in after a failure': from.signIn({
      ...asked,
      email: text,
      problem: text,
      microsoft: { href: `/${text}`, label: text },
    }),
    'sign-in after a choice elsewhere': from.signIn({ ...asked, notice: text }),
    'sign-in, the address first, after a choice elsewhere': from.signInStart({
      ...asked,
      notice: text,
      asksAddress: true,
      microsoft: { href: `/${text}`, label: text },
      local: `/${text}`,
    }),
    'sign-in, the password alone': from.signIn({
      ...asked,
      email: text,
      back: `/${text}`,
      connect: { href: `/${text}`, label: text },
    }),
    'sign-in in order to connect': from.signIn({ ...asked, connecting: text }),
    'sign-in, the address first': from.signInStart({
      ...asked,
      email: text,
      problem: text,
      asksAddress: true,
      microsoft: { href: `/${text}`, label: text },
      local: `/${text}`,
    }),
    'sign-in elsewhere alone': from.signInStart({
      ...asked,
      asksAddress: false,
      microsoft: { href: `/${text}`, label: text },
      local: `/${text}`,
    }),
    'new password': from.newPassword({ ...asked, email: text, minLength: 12 }),
    'new password after a failure': from.newPassword({ ...asked, email: text, minLength: 12, problem: text }),
    consent: from.consent({
      ...asked,
      email: text,
      origin: text,
      profile: [text],
      offline: true,
      apis: [{ name: text, scopes: [{ scope: text, description: text }] }],
    }),
    'consent to little': from.consent({ ...asked, email: text, apis: [], profile: [], offline: false }),
    'sign-out': from.signOut({ form: logoutForm, application: text, email: text }),
    'sign-out, here and elsewhere': from.signOut({ form: logoutForm, application: text, email: text, elsewhere: text }),
    'sign-out, nobody asked': from.signOut({ form: logoutForm }),
    'signed out': from.signedOut({ application: text }),
    'signed out, nobody asked': from.signedOut({}),
    'still signed in': from.signedOut({ application: text, stillAs: text }),
    'still signed in, nobody asked': from.signedOut({ stillAs: text }),
    'go on': from.goOn({ ...handedOn, application: text }),
    'go on, somewhere': from.goOn(handedOn),
    error: from.error({
      title: text,
      message: text,
      requestId: text,
      code: text,
      detail: text,
      instead: { href: `/${text}`, label: text },
    }),
    'error without a code': from.error({ title: text, message: text, requestId: text }),
    'lost: expired': from.lost({ reason: 'expired' }),
    'lost: expired, with a way home': from.lost({ reason: 'expired', home: { href: `/${text}`, label: text } }),
    'lost: the password is saved': from.lost({ reason: 'saved' }),
    message: from.message({ title: text, message: text, home: { href: `/${text}`, label: text } }),
    'lost: finished': from.lost({ reason: 'finished' }),
    'lost: cookies': from.lost({ reason: 'cookies' }),
    home: from.home({ issuer: text, discovery: text, jwks: text }),
  };
}

const ordinary = Object.entries(everyPage('Orders'));
const attacked = Object.entries(everyPage(hostile));

describe('a text that tries to be markup', () => {
  test.each(attacked)('stays text (%s)', (_name, html) => {
    const plain = everyPage('Orders')[_name] ?? '';
    expect(elementsOf(html).map(({ tag }) => tag)).toEqual(elementsOf(plain).map(({ tag }) => tag));
    expect(elementsOf(html).map(({ attributes }) => [...attributes.keys()])).toEqual(
      elementsOf(plain).map(({ attributes }) => [...attributes.keys()]),
    );
  });

  test('is shown as it was written', () => {
    const html = pages.signIn({ action: '/x', application: '<script>', email: `"ada' o"@example.com` });
    expect(textOf(html, 'title')).toBe('Sign in to <script> · Acme');
    expect(textOf(html, 'main')).toContain('to continue to <script>');
    expect(
      elementsOf(html)
        .find(({ attributes }) => attributes.get('id') === 'email')
        ?.attributes.get('value'),
    ).toBe(`"ada' o"@example.com`);
  });

  test('cannot come in by the name of the service either', () => {
    const named = createPages({ branding: { name: hostile, color: '#1f5eff' }, issuer: 'https://id.example.com' });
    expect(textOf(named.signedOut({}), 'title')).toBe(`Signed out · ${hostile}`);
    for (const html of Object.values(everyPage('Orders', named))) elementsOf(html);
  });
});

describe('under a policy that allows neither script nor inline style', () => {
  test.each(ordinary)('a page holds none and needs none (%s)', (_name, html) => {
    for (const { tag, attributes } of elementsOf(html)) {
      expect(['style', 'iframe', 'object', 'embed', 'base']).not.toContain(tag);
      for (const name of attributes.keys()) expect(name).not.toMatch(/^(on.*|style|formaction|srcset)$/);
    }
  });

  test.each(ordinary)('a page loads no script, but for the one that presses a button (%s)', (name, html) => {
    const scripts = elementsOf(html).filter(({ tag }) => tag === 'script');
    expect(scripts).toHaveLength(name.startsWith('go on') ? 1 : 0);
    for (const { attributes, end } of scripts) {
      expect(attributes.get('src')).toMatch(/^\/assets\/go-on\.[0-9a-f]{16}\.js$/);
      expect(html.slice(end)).toMatch(/^<\/script>/);
    }
  });

  test.each(ordinary)('everything it loads is ours (%s)', (_name, html) => {
    const loaded = elementsOf(html).filter(({ tag }) => tag === 'link' || tag === 'img');
    expect(loaded).toHaveLength(3);
    for (const { attributes } of loaded) {
      expect(attributes.get('href')).toMatch(/^\/assets\/[a-z]+\.[0-9a-f]{16}\.(css|svg)$/);
    }
  });
});

describe('somebody who cannot see the page', () => {
  test.each(ordinary)('hears its language, its title, one heading and its parts (%s)', (_name, html) => {
    const elements = elementsOf(html);
    const count = (tag: string) => elements.filter((element) => element.tag === tag).length;
    expect(elements.find(({ tag }) => tag === 'html')?.attributes.get('lang')).toBe('en');
    expect(textOf(html, 'title')).toMatch(/^\S.* · Acme$/);
    expect(textOf(html, 'h1')).not.toBe('');
    expect([count('h1'), count('main'), count('header'), count('footer')]).toEqual([1, 1, 1, 1]);
    expect(html).not.toMatch(/undefined|null|NaN|\[object/);
  });

  test.each(ordinary)('is told what each field is for (%s)', (_name, html) => {
    const elements = elementsOf(html);
    const labels = elements.filter(({ tag }) => tag === 'label').map(({ attributes }) => attributes.get('for'));
    for (const { attributes } of shownInputs(html)) {
      expect(labels).toContain(attributes.get('id'));
      expect(attributes.get('autocomplete')).toBeTruthy();
    }
  });

  test.each(ordinary)('never meets an id twice, nor a reference to one that is missing (%s)', (_name, html) => {
    const attributes = elementsOf(html).map((element) => element.attributes);
    const ids = attributes.flatMap((each) => each.get('id') ?? []);
    expect(new Set(ids).size).toBe(ids.length);
    const references = attributes.flatMap((each) => [each.get('aria-describedby'), each.get('for'), each.get('form')]);
    for (const id of references.flatMap((each) => each?.split(' ') ?? [])) expect(ids).toContain(id);
  });

  test.each(ordinary)('can name every button and link, and drawings stay silent (%s)', (_name, html) => {
    for (const { tag, attributes, end } of elementsOf(html)) {
      const words = html
        .slice(end)
        .split(`</${tag}>`)[0]
        ?.replace(/<[^>]*>/g, '')
        .trim();
      if (tag === 'button' || tag === 'a') expect(words).toBeTruthy();
      if (tag === 'svg') expect(attributes.get('aria-hidden')).toBe('true');
      if (tag === 'img') expect(attributes.has('alt')).toBe(true);
    }
  });

  const failures = ordinary.filter(([name]) => name.endsWith('after a failure'));
  test.each(failures)('hears at once what went wrong (%s)', (_name, html) => {
    const alert = elementsOf(html).filter(({ attributes }) => attributes.get('role') === 'alert');
    expect(alert.map(({ attributes }) => attributes.get('id'))).toEqual(['problem']);
    expect(textOf(html, 'title')).toMatch(/^Error: /);
    for (const { attributes } of shownInputs(html)) {
      expect(attributes.get('aria-invalid')).toBe('true');
      expect(attributes.get('aria-describedby')?.split(' ')).toContain('problem');
    }
  });
});

describe('somebody with a keyboard', () => {
  test.each(ordinary)('finds at most one place chosen for them, in reading order (%s)', (_name, html) => {
    const attributes = elementsOf(html).map((element) => element.attributes);
    expect(attributes.filter((each) => each.has('autofocus')).length).toBeLessThanOrEqual(1);
    expect(attributes.some((each) => each.has('tabindex'))).toBe(false);
  });

  test('begins at the first field that is still empty', () => {
    const focused = (html: string) =>
      elementsOf(html)
        .find(({ attributes }) => attributes.has('autofocus'))
        ?.attributes.get('name');
    expect(focused(pages.signIn({ action: '/x', application: 'Orders' }))).toBe('email');
    expect(focused(pages.signIn({ action: '/x', application: 'Orders', email: 'ada@example.com' }))).toBe('password');
  });
});

describe('what the forms send', () => {
  test('a sign-in posts the e-mail address and the password, in words that password managers know', () => {
    const html = pages.signIn({ action: '/interaction/1/password', application: 'Orders' });
    const inputs = shownInputs(html);
    expect(inputs.map(pick('name', 'type', 'autocomplete'))).toEqual([
      ['email', 'text', 'username'],
      ['password', 'password', 'current-password'],
    ]);
    const forms = elementsOf(html)
      .filter(({ tag }) => tag === 'form')
      .map(pick('method', 'action'));
    expect(forms).toEqual([
      ['post', '/interaction/1/password'],
      ['post', '/interaction/1/password'],
    ]);
  });

  test('leaving a sign-in does not send what was typed', () => {
    const html = pages.signIn({ action: '/x', application: 'Orders' });
    const last = html.slice(html.lastIndexOf('<form'));
    expect(elementsOf(last).filter(({ tag }) => tag === 'input')).toEqual([]);
    expect(last).toContain('name="cancel" value="yes"');
  });

  test('a new password is asked for twice, and never printed', () => {
    const html = pages.newPassword({ action: '/x', application: 'Orders', email: 'ada@example.com', minLength: 12 });
    expect(shownInputs(html).map(pick('name', 'minlength', 'value'))).toEqual([
      ['new_password', '12', undefined],
      ['new_password_again', '12', undefined],
    ]);
  });

  test('consent is one of two answers', () => {
    const html = pages.consent({
      action: '/x',
      application: 'Orders',
      email: 'ada@example.com',
      apis: [],
      profile: [],
      offline: false,
    });
    expect(buttons(html).map(pick('name', 'value'))).toEqual([
      ['decision', 'allow'],
      ['decision', 'deny'],
    ]);
  });

  test("signing out goes through the provider's own form, as it stands", () => {
    const html = pages.signOut({ form: logoutForm });
    expect(html).toContain(logoutForm);
    expect(buttons(html).map(pick('form', 'name', 'value'))).toEqual([
      ['op.logoutForm', 'logout', 'yes'],
      ['op.logoutForm', undefined, undefined],
    ]);
  });
});

describe('what the pages say', () => {
  test('who is asking, and where one is', () => {
    const html = pages.signIn({ action: '/x', application: 'Orders' });
    expect(textOf(html, 'main')).toContain('to continue to Orders');
    expect(textOf(html, 'footer')).toBe('You are at id.example.com');
  });

  test('consent names the account, what is seen, what may be done, and where one goes', () => {
    const text = textOf(
      pages.consent({
        action: '/x',
        application: 'Parcels',
        email: 'ada@example.com',
        origin: 'https://parcels.example.com',
        apis: [{ name: 'Orders', scopes: [{ scope: 'orders:read', description: 'See your orders' }] }],
        profile: ['Your e-mail address'],
        offline: true,
      }),
      'main',
    );
    for (const part of [
      'Parcels',
      'ada@example.com',
      'Your e-mail address',
      'See your orders',
      'orders:read',
      'https://parcels.example.com',
      'while you are not using it',
    ])
      expect(text).toContain(part);
  });

  test('an error carries the reference that finds it in the log', () => {
    const html = pages.error({ title: 'No', message: 'It failed.', requestId: '9f2c4e81d07b36aa' });
    expect(textOf(html, 'dl')).toContain('9f2c4e81d07b36aa');
  });

  test('each way to lose a sign-in has its own story and its own way on', () => {
    const stories = (['expired', 'finished', 'cookies'] as const).map((reason) => pages.lost({ reason }));
    expect(new Set(stories.map((html) => textOf(html, 'h1'))).size).toBe(3);
    for (const html of stories) expect(textOf(html, 'ol')).not.toBe('');
    expect(textOf(pages.lost({ reason: 'cookies' }), 'ol')).toContain('id.example.com');
  });
});

test('an issuer with a path has its assets below that path', () => {
  const below = createPages({ branding: { name: 'Acme', color: '#1f5eff' }, issuer: 'https://example.com/id' });
  const html = below.signedOut({});
  const links = elementsOf(html)
    .filter(({ tag }) => tag === 'link')
    .map(({ attributes }) => attributes.get('href'));
  expect(links).toEqual([1, 2, 3].map(() => expect.stringMatching(/^\/id\/assets\//)));
});

function shownInputs(html: string): Element[] {
  const isShown = ({ attributes }: Element) => attributes.get('type') !== 'hidden' && !attributes.has('hidden');
  return elementsOf(html).filter((element) => element.tag === 'input' && isShown(element));
}

function buttons(html: string): Element[] {
  return elementsOf(html).filter(({ tag }) => tag === 'button');
}

function pick(...names: string[]) {
  return ({ attributes }: Element) => names.map((name) => attributes.get(name));
}
