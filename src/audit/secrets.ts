// What must not stand in the audit trail, known by its name: whoever writes an event may have taken along too much.

const secretNouns = /^(password|passphrase|secret|token|code|cookie)s?$/;
const privateParameters = new Set(['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth']); // RFC 7518 §6.3.2

// Details bear few names, and these again and again.
const judged = new Map<string, boolean>();
const judgementsKept = 500;

function isSecret(name: string): boolean {
  const known = judged.get(name);
  if (known !== undefined) return known;
  const lastWord = name.split(/[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])/).at(-1) ?? '';
  const verdict = privateParameters.has(name) || secretNouns.test(lastWord.toLowerCase());
  if (judged.size < judgementsKept) judged.set(name, verdict);
  return verdict;
}

/**
 * The path of the first member that looks like a secret, at any depth. A name is judged by its last word, so
 * `client_secret` and `refreshToken` are refused while `token_type` and `codeChallengeMethod` are facts.
 */
export function secretIn(value: unknown, path = 'detail'): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [name, member] of Object.entries(value)) {
    if (isSecret(name)) return `${path}.${name}`;
    const deeper = secretIn(member, `${path}.${name}`);
    if (deeper !== undefined) return deeper;
  }
  return undefined;
}
