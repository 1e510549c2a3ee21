import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { brandCss, contrast } from '../../src/web/brand.ts';
import { viewsFolder } from '../../src/web/views.ts';

const colors = [
  '#1f5eff',
  '#000000',
  '#ffffff',
  '#f6d743',
  '#808080',
  '#ff0000',
  '#00ff00',
  '#0000ff',
  '#1c1e24',
  '#777777',
];
const stylesheet = readFileSync(join(viewsFolder(), 'assets/signet.css'), 'utf8');

/** The custom properties of a style sheet: those outside and those inside its dark block. */
function properties(css: string): { light: Record<string, string>; dark: Record<string, string> } {
  const dark = /@media \(prefers-color-scheme: dark\) \{\s*:root \{(.*?)\}/s.exec(css)?.[1] ?? '';
  const light = /^:root \{(.*?)\}/ms.exec(css)?.[1] ?? '';
  const read = (block: string) =>
    Object.fromEntries(
      [...block.matchAll(/--([a-z-]+): (#[0-9a-f]{3,6});/g)].map(([, name, value = '']) => [name, sixDigits(value)]),
    );
  return { light: read(light), dark: { ...read(light), ...read(dark) } };
}

function sixDigits(color: string): string {
  return color.length === 4 ? color.replace(/[0-9a-f]/g, '$&$&') : color;
}

describe.each(['light', 'dark'] as const)('in the %s scheme', (scheme) => {
  const paper = properties(stylesheet)[scheme];
  const between = (one: string | undefined, other: string | undefined) => contrast(one ?? '', other ?? '');

  test.each(colors)('%s becomes a button that can be read, also when pointed at', (color) => {
    const brand = properties(brandCss(color))[scheme];
    expect(between(brand.brand, brand['on-brand'])).toBeGreaterThanOrEqual(4.5);
    expect(between(brand['brand-pointed'], brand['on-brand'])).toBeGreaterThanOrEqual(4.5);
  });

  test.each(colors)('%s becomes links that can be read and a seal that can be seen on the card', (color) => {
    const brand = properties(brandCss(color))[scheme];
    expect(between(brand.accent, paper.card)).toBeGreaterThanOrEqual(4.5);
    expect(between(brand.seal, paper.card)).toBeGreaterThanOrEqual(3);
  });

  test.each([
    ['ink', 'desk'],
    ['ink', 'card'],
    ['ink', 'well'],
    ['ink', 'alarm-well'],
    ['soft', 'desk'],
    ['soft', 'card'],
    ['soft', 'well'],
    ['alarm', 'card'],
    ['alarm', 'alarm-well'],
  ])('%s can be read on %s', (text, ground) => {
    expect(between(paper[text], paper[ground])).toBeGreaterThanOrEqual(4.5);
  });

  test('the edge of a field can be seen', () => {
    expect(between(paper.edge, paper.card)).toBeGreaterThanOrEqual(3);
  });
});

test('a colour that already reads well is left as it is', () => {
  expect(properties(brandCss('#1f5eff')).light).toMatchObject({ brand: '#1f5eff', accent: '#1f5eff', seal: '#1f5eff' });
});

test.each(['red', '#fff', '#1f5eff;} body{display:none', ''])('%j is refused as a colour', (color) => {
  expect(() => brandCss(color)).toThrow(expect.objectContaining({ code: 'invalid_color' }));
});
