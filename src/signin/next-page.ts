// The next page: what a form leaves for the page after it. A form is answered with a redirect, never with a page (post,
// redirect, get): so neither the back button nor a reload sends anything twice. What the next page has to say is kept
// with the sign-in, not with the browser: several tabs, and browsers without a script, each find their own.

import type { Seal } from '../keys/seal.ts';

/** What a page shows beside its form. */
export interface Shown {
  /** What was typed as e-mail address. */
  email?: string | undefined;
  /** Only the password is asked for: the address was typed on the page before. */
  knownAddress?: boolean | undefined;
  /** What did not work. */
  problem?: string | undefined;
  /** What happened because the person wanted it. */
  notice?: string | undefined;
  /** HTTP status of the page. Default 200. */
  status?: number | undefined;
  /** Whether Microsoft is to ask which account. */
  tryAnother?: boolean | undefined;
  /** How long the problem lasts: epoch milliseconds. */
  until?: number | undefined;
}

/** The same, as it is kept. */
interface NextPage extends Omit<Shown, 'email'> {
  /** People type passwords into the field for the address: in the database it stands sealed. */
  sealedEmail?: string;
}

interface NextPages {
  keep(uid: string, shown: Shown): NextPage;
  read(uid: string, kept: NextPage | undefined): Shown;
}

export function createNextPages(seal: Seal): NextPages {
  // Sealed once for each form that did not lead on, so under a key of its own: see createSeal.
  const own = seal.forPurpose('sign-in pages');
  const placeOf = (uid: string) => `sign-in page ${uid}`;

  return {
    keep(uid, { email, ...shown }) {
      return { ...shown, ...(email ? { sealedEmail: own.seal(email, placeOf(uid)) } : {}) };
    },
    read(uid, kept = {}) {
      const { sealedEmail, ...shown } = kept;
      if (sealedEmail === undefined) return shown;
      try {
        return { ...shown, email: own.open(sealedEmail, placeOf(uid)).toString() };
      } catch {
        return shown; // sealed under a master key that is gone: it is typed once more
      }
    },
  };
}
