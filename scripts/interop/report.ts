// The matrix, as Markdown: a row per check, a column per resource server. And what became of Kubernetes, and of
// Wycheproof's vectors.

import type { Trial } from './kubernetes.ts';
import { mislabelled, refusedOnPurpose, type Vectors } from './wycheproof.ts';

export interface Cell {
  check: string;
  got: string;
  ok: boolean;
}

export interface Column {
  name: string;
  versions: string | undefined;
  /** Why it was not run. */
  absent: string | undefined;
  cells: Cell[];
  gaps: Record<string, string>;
}

export function table(columns: readonly Column[]): string {
  const present = columns.filter(({ absent }) => absent === undefined);
  const checks = [...new Set(present.flatMap(({ cells }) => cells.map(({ check }) => check)))];
  const rows = checks.map((check) => [check, ...present.map(({ cells, gaps }) => show(cells, check, gaps))]);
  const head = ['', ...present.map(({ name }) => name.replace(', ', ',<br>'))];
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function show(cells: readonly Cell[], check: string, gaps: Column['gaps']): string {
  const cell = cells.find((each) => each.check === check);
  if (!cell) return '';
  if (gaps[check] !== undefined) return `${cell.got} ¹`;
  return cell.ok ? cell.got : `**${cell.got}**`;
}

export interface Bounds {
  keysSeconds: number;
  statusTtlSeconds: number;
}

export function document(
  columns: readonly Column[],
  { keysSeconds, statusTtlSeconds }: Bounds,
  vectors: Vectors,
  trial: Trial,
): string {
  const day = new Date().toISOString().slice(0, 10);
  const gaps = columns
    .filter(({ absent }) => absent === undefined)
    .flatMap(({ name, gaps: known }) =>
      Object.entries(known).map(([check, reason]) => `- ${name}, ${check}: ${reason}`),
    );
  const versions = columns.map(
    ({ name, versions: known, absent }) => `| ${name} | ${absent === undefined ? known : `not run: ${absent}`} |`,
  );
  return `<!-- Written by \`npm run test:interop\`. -->

# Interoperability: what was run, and what it answered

On ${day}, each resource server of [other-languages.md](other-languages.md) against one live Signet. A number is the
HTTP status of the answer; a time is how long it took until the answer was the right one. Bold is not as it should be.

${table(columns)}

${gaps.length === 0 ? '' : `¹ Known:\n\n${gaps.join('\n')}\n`}
- Keys may be kept for ${keysSeconds} s in this run (\`keys.jwksMaxAge\`, and \`KEYS_SECONDS\` for the examples; 300 s by default):
  a revoked key is refused within that time and 5 s for the run's own work. mod_auth_openidc keeps them for 300 s at least.
- A status list may be kept for ${statusTtlSeconds} s: a revoked grant is refused within that time and 5 s. Where that row says "no",
  no list is read: there, a token is good until it expires.
- "Not published ahead" is a rotation by force; in a usual one, everybody has the new key before it signs.

| resource server | versions |
| --- | --- |
${versions.join('\n')}

## Kubernetes

${chapterOfKubernetes(trial)}

## Wycheproof

${chapterOfVectors(vectors)}
`;
}

function chapterOfKubernetes({ absent, version, cells }: Trial): string {
  if (absent !== undefined) return `Not run: ${absent}`;
  const rows = cells.map(({ check, got, ok }) => `| ${check} | ${ok ? `\`${got}\`` : `**${got}**`} |`);
  return `The configuration of [other-languages.md](other-languages.md#kubernetes) in the authenticator of a Kubernetes API server
(\`${version}\`): whom it takes the caller for, or 401. Keys may be kept for 30 s here; a revoked one is
believed until a token names a key that it does not have.

| token | answer |
| --- | --- |
${rows.join('\n')}`;
}

function chapterOfVectors({ absent, version, counts, failures }: Vectors): string {
  if (absent !== undefined) return `Its vectors were not run: ${absent}`;
  const all = counts.accepted + counts.refused + counts.others;
  const listed = (reasons: Record<string, string>) =>
    Object.entries(reasons)
      .map(([tests, reason]) => `- ${tests}: ${reason}`)
      .join('\n');
  return `Its vectors for JSON Web Signatures (\`${version}\`)
against \`@signet-idp/verifier\`, which accepts RS256 alone. "The JWS layer" is the verifier without the claims: their payloads
are none.

| | vectors |
| --- | --- |
| RS256, accepted by the JWS layer, as labelled | ${counts.accepted} |
| RS256, refused by it, as labelled but for one below | ${counts.refused} |
| other algorithms and keys that are not for RS256 signatures, refused by it | ${counts.others} |
| together, as they have to be judged | ${all} |
| refused by the whole verifier, each with a 401 | ${counts.whole} |
| access tokens signed with the RS256 keys of the vectors, accepted by the whole verifier | ${counts.tokens} |
${failures.length === 0 ? '' : `\n**Not as it should be:**\n\n${failures.map((each) => `- ${each}`).join('\n')}\n`}
Refused on purpose, though labelled valid:

${listed(refusedOnPurpose)}

Labels that contradict their vectors, all of other algorithms and so without a bearing on this:

${listed(mislabelled)}`;
}
