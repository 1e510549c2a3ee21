// A real Chromium for browser tests, driven by playwright-core.

import type { Browser, LaunchOptions } from 'playwright-core';
import { chromium } from 'playwright-core';

import { findChromium } from '../../scripts/services.ts';

/** Where `npm test` could not get Chromium: browser tests are then skipped, which it says, and which fails on CI. */
export const noChromium = Boolean(process.env.SIGNET_TEST_NO_CHROMIUM);

/** Starts a headless browser that talks to nobody but the pages under test. Close it when done. */
export async function launchChromium(): Promise<Browser> {
  return chromium.launch(launchOptions());
}

/** The same, for a test with a profile of its own: chromium.launchPersistentContext(profile, launchOptions()). */
export function launchOptions(): LaunchOptions {
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error('Chromium is not installed: npm test says how to get it');
  // Chromium's sandbox refuses to run as root.
  const asRoot = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const quiet = ['--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
  return { executablePath, headless: true, args: [...asRoot, ...quiet, '--disable-gpu', '--disable-quic'] };
}
