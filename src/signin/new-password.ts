// A password that somebody chooses, for themselves or for somebody else: the one rule for the page and the command line.
// How a password is hashed and compared is password.ts; which ones guessers try first, password-rule.ts.

import type { Account } from '../accounts/account.ts';
import type { Clients } from '../clients/clients.ts';
import { AppError } from '../errors.ts';
import type { Passwords } from './password.ts';
import type { QueueOrigin } from './password-queue.ts';
import { type Weakness, type Words, weaknessOf } from './password-rule.ts';

/** Whose password it is to be: an account, or one that is not there yet. */
export type Owner = Partial<Account>;

export interface NewPasswords {
  /**
   * The hash of a password that `owner` may have from now on.
   * @throws {AppError} password_unacceptable (400), in a sentence for whoever chose it | busy (503)
   */
  choose(password: string, owner: Owner, origin?: QueueOrigin): Promise<string>;
}

interface NewPasswordsParts {
  passwords: Passwords;
  clients: Pick<Clients, 'list'>;
  /** Public URL of this server. */
  issuer: string;
  /** What the service is called on its pages. */
  serviceName: string;
}

const advice = 'A few unrelated words are easy to remember and hard to guess.';
const sentences: Readonly<Record<Weakness, string>> = {
  common: `This is one of the passwords that guessers try first. ${advice}`,
  own: `This password is made of your name or address, or of a name of this service. Guessers try those first. ${advice}`,
  repeated: `This password repeats itself, and guessers try that first. ${advice}`,
  sequence: `This password follows the alphabet or the keyboard, and guessers try that first. ${advice}`,
};

export function createNewPasswords({ passwords, clients, issuer, serviceName }: NewPasswordsParts): NewPasswords {
  async function wordsOf(owner: Owner): Promise<string[]> {
    const { email = '', name, givenName, familyName, preferredUsername } = owner;
    const [mailbox = '', domain = ''] = email.split('@');
    const applications = (await clients.list()).map((application) => application.name);
    const names = [
      'signet',
      serviceName,
      ...applications,
      name,
      givenName,
      familyName,
      preferredUsername,
      mailbox,
      email,
    ].filter((each) => each !== undefined);
    const hosts = [domain, new URL(issuer).hostname].flatMap((host) => [host, ...labelsOf(host)]);
    return [...names, ...names.flatMap((each) => each.split(/[^\p{L}\p{N}]+/u)), ...hosts];
  }

  /** As it was typed, and with the keyboard's shift or lock the other way. */
  async function isTheSame(password: string, hash: string, origin?: QueueOrigin): Promise<boolean> {
    const [first = '', ...others] = password;
    const shifted = (first === first.toUpperCase() ? first.toLowerCase() : first.toUpperCase()) + others.join('');
    for (const candidate of new Set([password, password.toLowerCase(), shifted, password.toUpperCase()])) {
      if ((await passwords.check(candidate, hash, origin)).ok) return true;
    }
    return false;
  }

  return {
    async choose(password, owner, origin) {
      const refuse = (sentence: string) => new AppError('password_unacceptable', 400, sentence);
      const length = passwords.problemWith(password);
      if (length) throw refuse(length);
      const weakness = weaknessOf(password, { ...(await commonPasswords()), own: await wordsOf(owner) });
      if (weakness) throw refuse(sentences[weakness]);
      if (owner.passwordHash !== undefined && (await isTheSame(password, owner.passwordHash, origin))) {
        throw refuse(
          owner.passwordMustChange
            ? 'Choose a password other than the one-time password.'
            : 'This is the password of before. Choose another one.',
        );
      }
      return passwords.hash(password, origin);
    },
  };
}

/** Of id.example.com: id and example. The last label is the name of nobody. */
const labelsOf = (host: string) => host.split('.').filter((_label, at, all) => at < all.length - 1 || all.length === 1);

// 49,000 words by how many people have them, 100 ms and 5 MB: loaded when somebody chooses a password, not at every start.
let loading: Promise<Pick<Words, 'common' | 'commonest'>> | undefined;
const howManyFirst = 1000;

function commonPasswords() {
  loading ??= import('@zxcvbn-ts/language-common').then(({ dictionary: { 'passwords-common': list } }) => ({
    common: new Set(list),
    commonest: new Set(list.slice(0, howManyFirst)),
  }));
  return loading;
}
