// The colours of the pages, made of the one that is configured, each readable where it is used (WCAG 2.2, 1.4.3: 4.5:1).
// Whoever configures the colour need not know about contrast; a pale yellow works as well as a navy.

import { AppError } from '../errors.ts';

export interface Branding {
  /** What the service is called on its pages: "Acme". */
  name: string;
  /** The colour of the main button and of accents, as #rrggbb. */
  color: string;
  /** An .svg or .png file, read at start. Without one the pages carry the seal of Signet. */
  logoFile?: string;
}

type Rgb = readonly [red: number, green: number, blue: number];

const black: Rgb = [0, 0, 0];
const white: Rgb = [255, 255, 255];
const readable = 4.5;
// What a shape needs in order to be seen (WCAG 2.2, 1.4.11). A button's text is measured against the button.
const visible = 3;

// The card of views/assets/signet.css in either scheme: what accents are read against.
const lightCard: Rgb = [255, 255, 255];
const darkCard: Rgb = [28, 30, 36];

/** The style sheet that carries the brand: custom properties only, for light and for dark. */
export function brandCss(color: string): string {
  const brand = parseColor(color);
  const seal = until(visible, brand, black, lightCard);
  const sealOnDark = until(visible, brand, white, darkCard);
  const light = declarations({ button: brand, seal, accent: until(readable, brand, black, lightCard) });
  const dark = declarations({ button: sealOnDark, seal: sealOnDark, accent: until(readable, brand, white, darkCard) });
  return [`:root { ${light} }`, `@media (prefers-color-scheme: dark) { :root { ${dark} } }`, ''].join('\n');
}

/** Contrast ratio of two colours, 1 to 21 (WCAG 2.2, relative luminance). */
export function contrast(one: string, other: string): number {
  return ratio(parseColor(one), parseColor(other));
}

function declarations({ button, seal, accent }: { button: Rgb; seal: Rgb; accent: Rgb }): string {
  const text = ratio(button, white) >= ratio(button, black) ? white : black;
  // Away from the text, so that pointing at the button never makes it harder to read.
  const pointedAt = mix(button, text === white ? black : white, 0.14);
  const colors = { brand: button, 'brand-pointed': pointedAt, 'on-brand': text, seal, accent };
  return Object.entries(colors)
    .map(([name, color]) => `--${name}: ${hex(color)};`)
    .join(' ');
}

function until(wanted: number, color: Rgb, towards: Rgb, against: Rgb): Rgb {
  for (let share = 0; share < 1; share += 0.04) {
    const candidate = mix(color, towards, share);
    if (ratio(candidate, against) >= wanted) return candidate;
  }
  return towards;
}

function parseColor(color: string): Rgb {
  const digits = /^#([0-9a-f]{6})$/i.exec(color)?.[1];
  if (digits === undefined) {
    throw new AppError('invalid_color', 500, `${color} is not a colour that the pages can use; write it as #rrggbb`);
  }
  const value = Number.parseInt(digits, 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

function hex(color: Rgb): string {
  return `#${color.map((channel) => channel.toString(16).padStart(2, '0')).join('')}`;
}

function mix(color: Rgb, other: Rgb, share: number): Rgb {
  const channel = (index: 0 | 1 | 2) => Math.round(color[index] * (1 - share) + other[index] * share);
  return [channel(0), channel(1), channel(2)];
}

function ratio(one: Rgb, other: Rgb): number {
  const [darker, lighter] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [number, number];
  return (lighter + 0.05) / (darker + 0.05);
}

function luminance([red, green, blue]: Rgb): number {
  const linear = (channel: number) => {
    const share = channel / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}
