// What became of the libraries, as Markdown: a row per library.

import type { Column } from '../report.ts';
import type { Library } from './libraries.ts';

export function signInDocument(libraries: readonly Library[], columns: readonly Column[]): string {
  const checks = [...new Set(columns.flatMap(({ cells }) => cells.map(({ check }) => check)))];
  const rows = columns.map(({ name, absent, cells }) => {
    if (absent !== undefined) return `| ${name} | not run: ${absent} |`;
    const shown = checks.map((check) => {
      const cell = cells.find((each) => each.check === check);
      if (!cell) return '';
      return cell.ok ? cell.got : `**${cell.got.replace(/[|\n]/g, ' ')}**`;
    });
    return `| ${name} | ${shown.join(' | ')} |`;
  });
  const facts = libraries.map(({ name, usedBy, lacks, note }, index) => {
    const missing = Object.entries(lacks).map(([check, why]) => `${check}: ${why}`);
    const versions = columns[index]?.versions ?? '';
    return `| ${name} | ${versions} | ${usedBy} | ${[...missing, ...(note === undefined ? [] : [note])].join('; ')} |`;
  });
  return `<!-- Written by \`npm run test:interop\`. -->

# Sign-in libraries: what was run, and what it did

On ${new Date().toISOString().slice(0, 10)}, each library in a small application of its own ([scripts/interop/sign-in](../scripts/interop/sign-in)) against one
live Signet, as a person with a browser goes through it: sign-in, userinfo, a refresh, a rotation of keys, a second refresh
and a second sign-in under the new key, sign-out, after which the issuer asks for the password again. "–" is what the library
has no call for; bold is not as it should be. Applications that use these libraries are in [applications.md](applications.md).

|  | ${checks.join(' | ')} |
| --- | ${checks.map(() => '---').join(' | ')} |
${rows.join('\n')}

| library | versions | used by, among others | to know |
| --- | --- | --- | --- |
${facts.join('\n')}
`;
}
