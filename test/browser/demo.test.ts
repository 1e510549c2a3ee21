// `npm run demo`, as a stranger would try it: every place that it prints, clicked through in Chromium.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchChromium, noChromium } from '../support/chromium.ts';
import { freePort } from '../support/ports.ts';
import { onProcessEnd } from '../support/process-end.ts';
import { leaksIn, noteSecret } from '../support/secrets.ts';

const program = fileURLToPath(new URL('../../scripts/demo.ts', import.meta.url));

describe.skipIf(noChromium)('the demo', () => {
  let browser: Browser;
  let demo: ChildProcess;
  let printed = '';
  let app: string;
  let forget = () => {};
  // With the programs that it started, which it cannot stop itself then.
  const kill = () => void (demo.exitCode === null && demo.signalCode === null && process.kill(-demo.pid!, 'SIGKILL'));

  beforeAll(async () => {
    const port = await freePort();
    app = `http://localhost:${port + 2}`;
    demo = spawn(process.execPath, [program, '--port', String(port)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    forget = onProcessEnd(kill);
    const welcome = new Promise<void>((resolve, reject) => {
      for (const stream of [demo.stdout!, demo.stderr!]) {
        stream.on('data', (chunk: Buffer) => {
          printed += chunk;
          if (printed.includes('What to try')) resolve();
        });
      }
      demo.once('exit', (code) => reject(new Error(`the demo ended with ${code}: ${printed}`)));
    });
    [browser] = await Promise.all([launchChromium(), welcome]);
  });
  afterAll(async () => {
    await browser?.close();
    kill();
    forget();
  });

  test('prints where to go, and as whom', () => {
    expect(printed).toContain(`Open this     ${app}\n`);
    expect(printed).toMatch(/Sign in as +\S+@\S+, password: \S/);
  });

  test('lets the seeded person sign in, order through the API, and sign out', async () => {
    const [, email = '', password = ''] = /Sign in as +(\S+), password: (.+)\n/.exec(printed)!;
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(app);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByLabel('E-mail address').fill(email);
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('heading', { name: 'Your orders', exact: true }).waitFor();
    await page.getByRole('button', { name: 'Desk lamp' }).click();
    await page.getByRole('cell', { name: 'Desk lamp' }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByText('You are signed out.').waitFor();
    await context.close();
  });

  test('lets a person of the simulated Microsoft sign in with the role that is mapped', async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(app);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('link', { name: 'Sign in with Microsoft (simulated)' }).click();
    await page.getByRole('button', { name: /alice@contoso\.example/ }).click();
    await page.getByRole('heading', { name: 'Your orders', exact: true }).waitFor();
    expect(await page.getByRole('banner').innerText()).toContain('buyer');
    await context.close();
  });

  test('ends when it is told to, and has shown no secret but the password of the demo', async () => {
    const ended = once(demo, 'exit');
    demo.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    noteSecret('a JWT', /eyJ[\w-]{10,}/.exec(printed)?.[0]);
    expect(leaksIn(printed)).toEqual([]);
  });
});
