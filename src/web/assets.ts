// The few files that our pages load: the style sheet, the brand's colours, the logo, the icon, and the one line of
// script that there is. All are read at start and served from memory under a name that carries their hash, so a browser
// keeps them for good and never asks twice.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import type { Middleware } from 'koa';
import { AppError } from '../errors.ts';
import type { Branding } from './brand.ts';
import { brandCss } from './brand.ts';
import { viewsFolder } from './views.ts';

/** Paths from the root of the issuer, beginning with "/assets/". */
interface AssetUrls {
  stylesheet: string;
  brand: string;
  icon: string;
  /** Sends on the page that loads it (views/go-on.eta). */
  goOn: string;
  /** Absent when no logo is configured. */
  logo?: string;
}

interface Assets {
  /** Answers GET and HEAD under /assets/, and leaves every other path to the next. */
  middleware: Middleware;
  urls: AssetUrls;
}

interface Asset {
  url: string;
  contentType: string;
  bytes: Buffer;
  etag: string;
}

const prefix = '/assets/';
const oneYearSeconds = 31_536_000;
const css = 'text/css; charset=utf-8';
const javascript = 'text/javascript; charset=utf-8';
const logoTypes: Record<string, string> = { '.svg': 'image/svg+xml', '.png': 'image/png' };

export function createAssets(branding: Branding): Assets {
  const stylesheet = asset('signet.css', css, ours('signet.css'));
  const goOn = asset('go-on.js', javascript, ours('go-on.js'));
  const brand = asset('brand.css', css, Buffer.from(brandCss(branding.color)));
  const logo = branding.logoFile === undefined ? undefined : readLogo(branding.logoFile);
  const icon = logo ?? asset('icon.svg', 'image/svg+xml', sealIcon(branding.color));

  const assets = new Map([stylesheet, brand, icon, goOn].map((each) => [each.url, each]));
  return {
    urls: {
      stylesheet: stylesheet.url,
      brand: brand.url,
      icon: icon.url,
      goOn: goOn.url,
      ...(logo && { logo: logo.url }),
    },
    middleware: serve(assets),
  };
}

function serve(assets: ReadonlyMap<string, Asset>): Middleware {
  return async (ctx, next) => {
    if (!ctx.path.startsWith(prefix)) return next();
    if (ctx.method !== 'GET' && ctx.method !== 'HEAD') {
      ctx.set('Allow', 'GET, HEAD');
      ctx.status = 405;
      return;
    }
    const found = assets.get(ctx.path);
    if (!found) {
      ctx.status = 404;
      // A page of the next release may ask a replica of the last one: this 404 must not be remembered.
      ctx.set('Cache-Control', 'no-store');
      return;
    }

    ctx.set('Cache-Control', `public, max-age=${oneYearSeconds}, immutable`);
    ctx.set('ETag', found.etag);
    ctx.set('X-Content-Type-Options', 'nosniff');
    ctx.set('Cross-Origin-Resource-Policy', 'same-origin');
    // An SVG opened by its own address is a document: without this it could run the scripts somebody put into a logo.
    ctx.set('Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'; sandbox");
    ctx.status = 200;
    ctx.type = found.contentType;
    if (ctx.fresh) {
      ctx.status = 304;
      return;
    }
    ctx.body = found.bytes;
  };
}

function asset(name: string, contentType: string, bytes: Buffer): Asset {
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  const extension = extname(name);
  const url = `${prefix}${name.slice(0, -extension.length)}.${hash}${extension}`;
  return { url, contentType, bytes, etag: `"${hash}"` };
}

const ours = (name: string): Buffer => readFileSync(join(viewsFolder(), 'assets', name));

function readLogo(file: string): Asset {
  const extension = extname(file).toLowerCase();
  const contentType = logoTypes[extension];
  if (contentType === undefined) {
    throw new AppError('unsupported_logo', 500, `the logo ${file} is neither an .svg nor a .png file`);
  }
  try {
    return asset(`logo${extension}`, contentType, readFileSync(file));
  } catch (cause) {
    throw new AppError('unreadable_logo', 500, `the logo ${file} cannot be read`, { cause });
  }
}

// The icon in the tab has no page around it whose colours it could take, so it is drawn with them.
function sealIcon(color: string): Buffer {
  return Buffer.from(ours('seal.svg').toString().replaceAll('currentColor', color));
}
