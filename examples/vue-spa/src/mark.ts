// Who is signed in at this origin, as every tab knows it. It proves nothing and opens nothing: it tells a new tab that
// asking the issuer is worth a redirect, and an old one that somebody signed out or changed the account.

const key = 'signed-in';

export const mark = {
  get: (): string | undefined => localStorage.getItem(key) ?? undefined,
  set(subject: string | undefined): void {
    if (subject === undefined) localStorage.removeItem(key);
    else localStorage.setItem(key, subject);
  },
  /** Calls back when another tab has changed it. */
  onChange(tell: (subject: string | undefined) => void): void {
    addEventListener('storage', (event) => {
      if (event.key === key || event.key === null) tell(mark.get());
    });
  },
};
