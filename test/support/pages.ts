// The sign-in page and what follows it, as a person without eyes reads them.

import { vi } from 'vitest';
import { type Answer, authorizationRequest, type UserAgent } from './user-agent.ts';

/** Comes from the application to the sign-in page. */
export const openSignIn = (issuer: string, agent: UserAgent, parameters: Record<string, string | undefined> = {}) =>
  agent.visit(authorizationRequest(issuer, parameters).url);

export const enter = (agent: UserAgent, page: Answer, { email, password }: { email: string; password: string }) =>
  agent.submit(page, { email, password });

/** What the page objects to. */
export const problemOn = ({ body }: Answer) => /role="alert">.*?<span>(.*?)<\/span>/s.exec(body)?.[1];

/** What the page tells without objecting. */
export const noticeOn = ({ body }: Answer) => /role="status">(.*?)<\/p>/s.exec(body)?.[1];

/** What the application got. */
export const returned = ({ url }: Answer) => Object.fromEntries(new URL(url).searchParams);

/** Whoever calls it gives the real time back: `vi.useRealTimers()`. */
export function passHours(hours: number): void {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + hours * 3_600_000 });
}
