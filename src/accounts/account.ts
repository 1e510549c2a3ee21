// One account: what is known of its person, how that stands in a row of the table accounts, and what follows from it
// without asking the database. The rows themselves are the business of accounts.ts.

import { domainToASCII } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import type { Value } from '../database/database.ts';
import { AppError } from '../errors.ts';

/** What is known of a person beside who they are: each may change, and none identifies anybody. */
export interface Profile {
  email?: string;
  emailVerified: boolean;
  name?: string;
  givenName?: string;
  familyName?: string;
  preferredUsername?: string;
}

export interface Account extends Profile {
  id: string;
  /** Whether the address is what they sign in by here. Then an administrator wrote it. */
  signsInByEmail: boolean;
  /** All of them. */
  roles: readonly string[];
  /** Of these, the ones an administrator gave here. */
  assignedRoles: readonly string[];
  /** And the ones that follow from what another identity provider says (role-mapping.ts). */
  mappedRoles: readonly string[];
  /** bcrypt; absent where the person signs in elsewhere. */
  passwordHash?: string;
  /** A one-time password: good for choosing another one, nothing else. */
  passwordMustChange: boolean;
  disabledAt?: Date;
  /** When they were last signed out everywhere: what was proved before ended with it. */
  signedOutAt?: Date;
  createdAt: Date;
  lastSignInAt?: Date;
}

export type LocalAccount = Account & { email: string };

export interface NewAccount {
  email: string;
  /** Whether whoever creates the account vouches that the address is the person's. Default: they typed it, so yes. */
  emailVerified?: boolean;
  name?: string;
  givenName?: string;
  familyName?: string;
  roles: readonly string[];
  passwordHash?: string;
  passwordMustChange?: boolean;
}

/** Who has it may administer (admin/authorize.ts). */
export const adminRole = 'admin';

/** As the database has it. */
export interface AccountRow {
  id: string;
  email: string | null;
  email_key: string | null;
  email_verified: number;
  name: string | null;
  given_name: string | null;
  family_name: string | null;
  preferred_username: string | null;
  roles: string;
  mapped_roles: string;
  password_hash: string | null;
  password_must_change: number;
  disabled_at: number | null;
  signed_out_at: number | null;
  created_at: number;
  last_sign_in_at: number | null;
}

export const accountColumns = `id, email, email_key, email_verified, name, given_name, family_name, preferred_username, roles,
  mapped_roles, password_hash, password_must_change, disabled_at, signed_out_at, created_at, last_sign_in_at`;

/** The same columns of an account that is joined as `alias` (joinAccount). */
export const accountColumnsOf = (alias: string) =>
  accountColumns
    .split(',')
    .map((column) => `${alias}.${column.trim()}`)
    .join(', ');

/** For a statement that reads what an account has, and the account with it. */
export const joinAccount = (alias: string, id: string) => `left join accounts ${alias} on ${alias}.id = ${id}`;

/** What such a statement reads of it: nothing, where there is none. */
export type JoinedAccount = { [Column in keyof AccountRow]: AccountRow[Column] | null };

export const joinedAccount = (row: JoinedAccount): Account | undefined =>
  row.id === null ? undefined : accountFromRow(row as AccountRow);

export function accountFromRow(row: AccountRow): Account {
  const assignedRoles = JSON.parse(row.roles) as string[];
  const mappedRoles = JSON.parse(row.mapped_roles) as string[];
  return {
    id: row.id,
    emailVerified: row.email_verified === 1,
    signsInByEmail: row.email_key !== null,
    roles: [...new Set([...assignedRoles, ...mappedRoles])],
    assignedRoles,
    mappedRoles,
    passwordMustChange: row.password_must_change === 1,
    createdAt: new Date(row.created_at),
    ...(row.email === null ? {} : { email: row.email }),
    ...(row.name === null ? {} : { name: row.name }),
    ...(row.given_name === null ? {} : { givenName: row.given_name }),
    ...(row.family_name === null ? {} : { familyName: row.family_name }),
    ...(row.preferred_username === null ? {} : { preferredUsername: row.preferred_username }),
    ...(row.password_hash === null ? {} : { passwordHash: row.password_hash }),
    ...(row.disabled_at === null ? {} : { disabledAt: new Date(row.disabled_at) }),
    ...(row.signed_out_at === null ? {} : { signedOutAt: new Date(row.signed_out_at) }),
    ...(row.last_sign_in_at === null ? {} : { lastSignInAt: new Date(row.last_sign_in_at) }),
  };
}

/**
 * Equal for two spellings of one mailbox as people mean it: letter case and Unicode form aside, and a domain in letters of
 * its own or as the DNS has it (RFC 5890 §2.3.2.1), which is what browsers send of a field for e-mail addresses.
 */
export function emailKey(email: string): string {
  const key = email.trim().normalize('NFKC').toLowerCase();
  const at = key.lastIndexOf('@') + 1;
  const domain = key.slice(at);
  return /^[\x00-\x7f]*$/.test(domain) ? key : key.slice(0, at) + (domainToASCII(domain) || domain);
}

// RFC 5321 §4.1.2 with the letters of RFC 6531 §3.3: a local part of atoms, or quoted; a domain, or an address in
// brackets. Lengths are in octets (§4.5.3.1).
const localPart =
  /^(?:[\p{L}\p{M}\p{N}!#$%&'*+/=?^_`{|}~-]+(?:\.[\p{L}\p{M}\p{N}!#$%&'*+/=?^_`{|}~-]+)*|"(?:[^"\\\p{C}]|\\[ -~])+")$/u;
const domainPart =
  /^(?:[\p{L}\p{M}\p{N}](?:[\p{L}\p{M}\p{N}-]*[\p{L}\p{M}\p{N}])?(?:\.[\p{L}\p{M}\p{N}](?:[\p{L}\p{M}\p{N}-]*[\p{L}\p{M}\p{N}])?)*|\[[\da-zA-Z.:]+\])$/u;

export function checkedEmail(email: string): string {
  const trimmed = email.trim();
  const at = trimmed.lastIndexOf('@');
  const [local, domain] = [trimmed.slice(0, at), trimmed.slice(at + 1)];
  const isShort =
    Buffer.byteLength(local) <= 64 && Buffer.byteLength(domain) <= 255 && Buffer.byteLength(trimmed) <= 254;
  if (at > 0 && isShort && localPart.test(local) && domainPart.test(domain)) return trimmed;
  const hint = isShort ? undefined : 'RFC 5321 allows 64 octets before the @, 255 behind it and 254 in all.';
  throw new AppError('email_invalid', 400, `${JSON.stringify(email.slice(0, 80))} is not an e-mail address`, { hint });
}

/** What a person is called. */
export type Names = Pick<Profile, 'name' | 'givenName' | 'familyName'>;

/** As the columns have them; who has a given and a family name and no other is called by both. */
export function namesOf({ name, givenName, familyName }: Names) {
  const checked = (written: string | undefined) => (written === undefined ? null : checkedName(written) || null);
  const [given, family] = [checked(givenName), checked(familyName)];
  const both = [given, family].filter((one) => one !== null).join(' ');
  return { name: checked(name) ?? (both || null), givenName: given, familyName: family };
}

/** A name as people read it: one line of at most 256 characters, as Microsoft's are. */
function checkedName(name: string): string {
  const trimmed = name.trim();
  if (trimmed.length <= 256 && !/[\p{Cc}\p{Cs}]/u.test(trimmed)) return trimmed;
  throw new AppError('name_invalid', 400, 'a name is one line of at most 256 characters');
}

export function checkRoles(roles: readonly string[]): void {
  const wrong = roles.find((role) => !/^[\w.:/-]{1,64}$/.test(role));
  if (wrong === undefined) return;
  const shown = JSON.stringify(wrong.slice(0, 80));
  throw new AppError('role_invalid', 400, `${shown} is not a role: 1 to 64 letters, digits or . _ : / -`);
}

/** By what a person is best told from others, on a page or a list. */
export function displayNameOf({ email, preferredUsername, name, id }: Account): string {
  return email ?? preferredUsername ?? name ?? id;
}

/** Whether another identity provider says of the person what is known here already. */
export function saysTheSame(account: Account, said: Profile, mappedRoles: readonly string[]): boolean {
  const now = [...profileValues(withOwnAddress(account, said)), ...mappedRoles];
  return isDeepStrictEqual(now, [...profileValues(account), ...account.mappedRoles]);
}

export function withOwnAddress({ signsInByEmail, email, emailVerified }: Account, said: Profile): Profile {
  return signsInByEmail ? { ...said, email, emailVerified } : said;
}

/** The columns of a profile, in the order in which they stand in `columns`. */
export function profileValues({
  email,
  emailVerified,
  name,
  givenName,
  familyName,
  preferredUsername,
}: Profile): Value[] {
  const names = [name, givenName, familyName, preferredUsername].map((value) => value ?? null);
  return [email ?? null, emailVerified ? 1 : 0, ...names];
}

export function unknownAccount(id: string): AppError {
  return new AppError('account_unknown', 404, `there is no account ${id}`);
}
