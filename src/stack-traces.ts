// Stack traces of what is bundled into dist/, in the lines of src/ (source maps, ECMA-426). Node's own support reads
// every map as its module is loaded, a fifth of a start; here a map is read when a trace first leads through its file.

import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';

/** From now on the stacks of errors name the files of src/, as far as there are source maps beside those that run. */
export function traceToSources(): void {
  const maps = new Map<string, SourceMap | undefined>();

  function mapOf(url: string): SourceMap | undefined {
    if (!maps.has(url)) maps.set(url, readMap(url));
    return maps.get(url);
  }

  function inSources(frame: string): string {
    return frame.replace(/(file:\/\/[^\s()]+):(\d+):(\d+)/, (place, url: string, line: string, column: string) => {
      const entry = mapOf(url)?.findEntry(Number(line) - 1, Number(column) - 1);
      if (!entry || !('originalSource' in entry)) return place;
      return `${new URL(entry.originalSource, url)}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
    });
  }

  Error.prepareStackTrace = (error, frames) =>
    [describe(error), ...frames.map((frame) => `    at ${inSources(String(frame))}`)].join('\n');
}

// Whoever asks for a stack has trouble already: what is wrong with a map is not to add to it.
function readMap(url: string): SourceMap | undefined {
  try {
    return new SourceMap(JSON.parse(readFileSync(new URL(`${url}.map`), 'utf8')));
  } catch {
    return undefined;
  }
}

function describe(error: Error): string {
  try {
    return Error.prototype.toString.call(error);
  } catch {
    return 'an error that cannot be described'; // its own getters throw
  }
}
