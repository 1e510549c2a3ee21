// How answers look to a person: aligned columns without colour, ISO dates, spans of time in one unit. Text that came
// from elsewhere (a name, a claim) loses its control characters, so that it cannot steer the terminal.

/** Columns under a heading, each as wide as its longest entry. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headings, ...rows.map((row) => row.map(printable))];
  const widths = headings.map((_heading, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  const aligned = lines.map((line) =>
    line
      .map((entry, column) => entry.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return aligned.join('\n');
}

/** Names and values, one pair a line, indented. Pairs without a value are left out. */
export function facts(pairs: Readonly<Record<string, string | undefined>>): string {
  const present = Object.entries(pairs).filter((pair): pair is [string, string] => pair[1] !== undefined);
  const width = Math.max(...present.map(([name]) => name.length));
  return present.map(([name, value]) => `  ${name.padEnd(width)}   ${printable(value)}`).join('\n');
}

/** Lines in a frame that nobody scrolls past. */
export function framed(lines: readonly string[]): string {
  const width = Math.max(...lines.map((line) => line.length));
  const edge = `+${'-'.repeat(width + 4)}+`;
  return [edge, ...lines.map((line) => `|  ${line.padEnd(width)}  |`), edge].join('\n');
}

/** 2026-07-01T12:00:00Z */
export function moment(at: Date | number): string {
  return new Date(at).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** The length of a time in its largest fitting unit, rounded down: 45 s, 12 min, 5 h, 89 d. */
export function span(milliseconds: number): string {
  const seconds = Math.floor(Math.abs(milliseconds) / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 2 * 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?');
}
