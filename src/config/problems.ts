// What is wrong with a configuration: where it was written, which setting it is, and a sentence that says what to do.
// No message repeats a value: it may be a secret.

import type { z } from 'zod';
import { AppError } from '../errors.ts';

export interface ConfigProblem {
  /** Where it was written: `signet.yaml:12`, `SIGNET_LISTEN_PORT`, or empty where nothing was. */
  source: string;
  /** The setting: `keys.rotateEvery`, `applications[0].redirectUris[1]`. */
  path: string;
  /** What is wrong and what to do. */
  message: string;
}

export type Path = readonly PropertyKey[];
export type Report = (source: string, path: Path, message: string) => void;

/** Every problem of a configuration, found in one go. */
export class ConfigError extends AppError {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    const lines = problems.map((problem) => `\n  ${formatProblem(problem)}`);
    super(
      'config_invalid',
      500,
      `the configuration has ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}:${lines.join('')}`,
      { hint: 'correct what is listed, then run: signet config check' },
    );
    this.problems = problems;
  }
}

/** In one line: where, which setting, what. */
export function formatProblem({ source, path, message }: ConfigProblem): string {
  return `${[source, path].filter((part) => part !== '').join(' ')}: ${message}`.replace(/^: /, '');
}

export function formatPath(path: Path): string {
  return path.reduce<string>((written, step) => {
    if (typeof step === 'number') return `${written}[${step}]`;
    const name = String(step);
    if (!/^[\w-]+$/.test(name)) return `${written}[${JSON.stringify(name)}]`;
    return written === '' ? name : `${written}.${name}`;
  }, '');
}

const expected: Record<string, string> = {
  string: 'must be text',
  number: 'must be a number',
  int: 'must be a whole number',
  boolean: 'must be true or false',
  array: 'must be a list',
  object: 'must hold names and values',
  record: 'must hold names and values',
};

/** What zod found, in our words; undefined leaves it to a sentence in the schema. */
export function sentence(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type': {
      if (issue.input === undefined) return 'is missing; add it';
      if (issue.input === null) return 'has no value; write one or remove the line';
      const wanted = expected[issue.expected] ?? 'has the wrong type';
      const lacksQuotes = issue.expected === 'string' && ['number', 'boolean'].includes(typeof issue.input);
      return lacksQuotes ? `${wanted}; put it in quotes` : wanted;
    }
    case 'invalid_value':
      return `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(String).join(', ')}`;
    case 'too_small':
      return `must be at least ${issue.minimum}${issue.origin === 'string' ? ' characters long' : ''}`;
    case 'too_big':
      return `must be at most ${issue.maximum}${issue.origin === 'string' ? ' characters long' : ''}`;
    case 'invalid_key':
      return issue.issues[0]?.message;
    default:
      return undefined;
  }
}
