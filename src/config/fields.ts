// What the settings are made of: text under a rule, numbers within bounds, durations, secrets, and rules that compare
// fields. The settings themselves: schema.ts and entra.ts.

import { z } from 'zod';
import { durationPattern, formatDuration, type Rule, toSeconds } from './rules.ts';

export const minute = 60;
export const hour = 60 * minute;
export const day = 24 * hour;
export const year = 365 * day;

/** A secret may come from anywhere but is never shown. JSON Schema's own word for that is writeOnly. */
export const secret = { writeOnly: true };

/** A URL in which a password may stand: shown without it, as the rest of it is what somebody looks for. */
export const urlWithPassword = { ...secret, format: 'uri' };

export const text = (rule: Rule) =>
  z.string().superRefine((value, ctx) => {
    const problem = rule(value);
    if (problem) ctx.addIssue(issue([], problem));
  });

/** What people read: one line. */
export const line = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((value) => !/[\p{Cc}\p{Cs}]/u.test(value), {
      error: 'must not contain line breaks or other control characters',
    });

export const issue = (path: PropertyKey[], message: string) => ({ code: 'custom' as const, path, message });

export const pattern = (expression: RegExp, message: string) => z.string().regex(expression, { error: message });

export const count = (min: number, max: number) => z.int().min(min).max(max);

const durationForm = 'must be a duration such as 45s, 30m, 12h or 90d, or a whole number of seconds';

/** Written as 45s, 30m, 12h, 90d or a number of seconds; read as seconds. */
export const duration = (min: number, max: number, description: string) =>
  z
    .union([z.int().nonnegative(), pattern(durationPattern, durationForm)], { error: durationForm })
    .transform((value) => (typeof value === 'number' ? value : toSeconds(value)))
    .refine((seconds) => seconds >= min && seconds <= max, {
      error: `must be between ${formatDuration(min)} and ${formatDuration(max)}`,
    })
    .describe(`${description} From ${formatDuration(min)} to ${formatDuration(max)}.`);

/** The longest that an access token can be configured to live, in seconds. */
export const maxAccessTokenLife = hour;

// Short enough that a leaked token is soon worthless, also to a verifier that asks nobody.
export const accessTokenLife = (description: string) => duration(minute, maxAccessTokenLife, description);

/** Lets a rule that compares fields run as soon as these are right, so that all problems come out at once. */
export const when = (...fields: string[]) => ({
  when: ({ issues }: z.core.ParsePayload) =>
    !issues.some(({ code, path = [] }) =>
      path.length === 0 ? code === 'invalid_type' : fields.includes(String(path[0])),
    ),
});

/** The same for a rule that looks at the items of lists, and passes over those that have a problem of their own. */
export const whenTyped = (...fields: string[]) => ({
  when: ({ issues }: z.core.ParsePayload) =>
    !issues.some(({ code, path = [] }) =>
      code === 'invalid_type'
        ? path.length === 0 || fields.includes(String(path[0]))
        : path.length === 1 && fields.includes(String(path[0])),
    ),
});

/** Whether nothing was found at or below `at` so far. */
export function isSound({ issues }: z.core.ParsePayload, at: PropertyKey[]): boolean {
  return !issues.some(({ path = [] }) => at.every((name, index) => path[index] === name));
}
