// Everything that can go wrong with a sign-in through Microsoft, as a table: what it means for the application that
// asked, what the person reads, what the operator does. Which class an error of OAuth's is of is oauth-error.ts.

import { AppError } from '../errors.ts';

export type FailureClass =
  | 'declined'
  | 'consent'
  | 'not_entitled'
  | 'account_state'
  | 'policy'
  | 'interaction'
  | 'no_session'
  | 'stale'
  | 'credential'
  | 'app_config'
  | 'transient'
  | 'forged'
  | 'lost'
  | 'guest'
  | 'step_up'
  | 'too_old'
  | 'consent_given'
  | 'consent_declined';

/** What the application that asked is told (RFC 6749 §4.1.2.1, OIDC Core §3.1.2.6). */
type DownstreamError =
  | 'access_denied'
  | 'interaction_required'
  | 'login_required'
  | 'consent_required'
  | 'temporarily_unavailable'
  | 'server_error'
  | 'unmet_authentication_requirements';

interface FailureRow {
  /** Undefined: which application it was is not known, or it need not hear of it. */
  downstream: DownstreamError | undefined;
  /** HTTP status of our page. */
  status: number;
  title: string;
  message: string;
  /** AADSTS numbers; those of one class may come with several OAuth errors. */
  numbers: readonly number[];
  /** What somebody has to do at Microsoft or here. Undefined: nothing is broken. */
  operator?: string;
  /** Whether it is what the person, or the administrator, wanted: nothing failed. */
  isChoice?: true;
  /** 'operator': somebody has to repair something. 'security': somebody may be attacking. */
  alert?: 'operator' | 'security';
}

export const failures: Readonly<Record<FailureClass, FailureRow>> = {
  declined: {
    downstream: 'access_denied',
    status: 200,
    numbers: [65004],
    isChoice: true,
    title: 'You cancelled the sign-in',
    message: 'Nothing was changed. Try again whenever you like.',
  },
  consent: {
    downstream: 'access_denied',
    status: 403,
    numbers: [65001, 90094, 90008, 650056],
    title: 'An administrator must approve this first',
    message: 'Your organisation wants an administrator to approve this sign-in before people use it. Ask yours.',
    operator: 'an administrator of the tenant has to open the admin-consent link and approve',
  },
  not_entitled: {
    downstream: 'access_denied',
    status: 403,
    numbers: [50105, 50020, 500208, 51004, 50034, 16000, 500212, 500213],
    title: 'This account has no access',
    message: 'Your Microsoft account is genuine, but may not be used here. Use another one, or ask your administrator.',
    operator: 'assign the person to the enterprise application, invite them as a guest, or list their tenant',
  },
  account_state: {
    downstream: 'access_denied',
    status: 403,
    numbers: [50057, 50053, 50055, 50144, 500341],
    title: 'Your Microsoft account cannot sign in at the moment',
    message: 'It is disabled or locked, or its password has expired. Your organisation’s help desk can put that right.',
  },
  policy: {
    downstream: 'access_denied',
    status: 403,
    numbers: [53000, 53001, 53002, 53003, 53004, 530034, 530035, 50131, 50005],
    title: 'Blocked by your organisation’s policy',
    message: 'A rule of your organisation does not allow this sign-in from here, or from this device.',
    operator: 'the sign-in log in the Entra admin center names the Conditional Access policy',
  },
  interaction: {
    downstream: 'interaction_required',
    status: 403,
    numbers: [50072, 50074, 50076, 50078, 50079, 50097, 50158],
    title: 'Microsoft wants another proof from you',
    message: 'Start again, and complete the further step that Microsoft asks for.',
  },
  no_session: {
    downstream: 'login_required',
    status: 400,
    numbers: [50058, 50059, 160021, 16002],
    title: 'You are not signed in at Microsoft',
    message: 'Start again, and sign in.',
  },
  stale: {
    downstream: undefined,
    status: 400,
    numbers: [70000, 70008, 700082, 700084, 70043, 50173, 50089, 54005, 9002313, 501481, 500112],
    title: 'This sign-in has expired',
    message: 'It took too long, or was already used. Start again.',
    operator: 'many of 501481 (PKCE) mean that somebody tries to redeem codes that are not theirs',
  },
  credential: {
    downstream: 'temporarily_unavailable',
    status: 503,
    numbers: [7000215, 7000222, 7000218, 700027, 700024, 700025, 70021],
    title: 'Sign-in with Microsoft is misconfigured',
    message: 'This is not your fault. The administrators have been informed.',
    operator: 'replace the credential of the app registration, and name the new one under entra (see docs/entra.md)',
    alert: 'operator',
  },
  app_config: {
    downstream: 'server_error',
    status: 500,
    numbers: [700016, 90002, 50194, 50011, 500011, 650052, 650057, 70011, 50146],
    title: 'Sign-in with Microsoft is misconfigured',
    message: 'This is not your fault. The administrators have been informed.',
    operator: 'compare the app registration with the entra section of the configuration (see docs/entra.md)',
    alert: 'operator',
  },
  transient: {
    downstream: 'temporarily_unavailable',
    status: 503,
    numbers: [90024, 90033, 90055, 50196, 50033, 50087],
    title: 'Sign-in with Microsoft is not possible right now',
    message: 'Microsoft is busy or cannot be reached. Try again in a moment.',
  },
  forged: {
    downstream: 'server_error',
    status: 400,
    numbers: [],
    title: 'This sign-in was stopped to protect you',
    message:
      'The answer that came back was not what Microsoft sends. Start again; if that does not help, tell your ' +
      'administrator.',
    operator: 'an ID token or response failed verification: look at what stands between this server and Microsoft',
    alert: 'security',
  },
  lost: {
    downstream: undefined,
    status: 400,
    numbers: [],
    title: 'This sign-in cannot be continued',
    message:
      'It was already used, has expired, or began in another browser. Go back to the application and start ' + 'again.',
  },
  guest: {
    downstream: 'access_denied',
    status: 403,
    numbers: [],
    title: 'Guests have no access here',
    message: 'Only members of the organisation may sign in. Use another account, or ask your administrator.',
    operator: 'entra.guests is deny: it needs the optional claim acct in ID tokens, and refuses who comes without it',
  },
  step_up: {
    downstream: 'unmet_authentication_requirements',
    status: 403,
    numbers: [],
    title: 'The application asks for a stronger sign-in',
    message:
      'Microsoft did not confirm the further proof that the application needs. Start again, or ask your ' +
      'administrator.',
    operator: 'entra.acrValues must name an authentication context that a Conditional Access policy grants',
  },
  too_old: {
    downstream: 'login_required',
    status: 400,
    numbers: [],
    title: 'Your sign-in at Microsoft is too old',
    message: 'The application wants you to sign in anew. Start again.',
  },
  consent_given: {
    downstream: undefined,
    status: 200,
    numbers: [],
    isChoice: true,
    title: 'Thank you',
    message: 'The approval was recorded by Microsoft. Everybody concerned can sign in now: go back to the application.',
  },
  consent_declined: {
    downstream: undefined,
    status: 200,
    numbers: [],
    isChoice: true,
    title: 'Nothing was approved',
    message: 'You cancelled at Microsoft, and nothing was changed. The approval can be given whenever you like.',
  },
};

const clock = 'set the clock of this server, which is not Microsoft’s (entra.clock_off in the log says by how much)';

/** By AADSTS number, or by our own reason, where that tells whoever repairs it more than the class does. */
const operatorHints: ReadonlyMap<number | string, string> = new Map<number | string, string>([
  [700024, clock],
  [700027, 'register the certificate that entra names; where it is registered, set the clock of this server'],
  [50146, 'the app has signing keys of its own: entra.customSigningKeys: true'],
  ['expired', clock],
  ['not_yet_valid', clock],
]);

/** What somebody has to do about a failure. Undefined: nothing is broken. */
export function operatorHint(
  failure: FailureClass,
  { numbers = [], reason = '' }: Pick<EntraFailure, 'numbers' | 'reason'>,
): string | undefined {
  const closer = [...numbers, reason].map((told) => operatorHints.get(told)).find((hint) => hint !== undefined);
  return closer ?? failures[failure].operator;
}

export interface EntraFailure {
  /** More than the class says, for the log and the audit trail: a short name such as `wrong_issuer`. */
  reason?: string | undefined;
  numbers?: readonly number[] | undefined;
  /** Which pending sign-in it was. */
  uid?: string | undefined;
  /** Quoted to Microsoft's support, together with the time. */
  correlationId?: string | undefined;
  retryAfterSeconds?: number | undefined;
  /** Where to send the browser instead of showing a page: Microsoft asked for a further step. */
  redirectTo?: string | undefined;
  /** Nobody was to be asked anything (prompt=none). */
  wasSilent?: boolean | undefined;
  /** Where an administrator approves the application. */
  adminConsentUrl?: string | undefined;
  cause?: unknown;
}

/** Why a sign-in through Microsoft ended. `title` and `message` are for the person, `hint` is for the operator. */
export class EntraError extends AppError {
  readonly failure: FailureClass;
  readonly title: string;
  readonly downstream: DownstreamError | undefined;
  readonly alert: 'operator' | 'security' | undefined;
  /** Whether nothing failed: it is what somebody wanted. */
  readonly isChoice: boolean;
  readonly facts: Readonly<EntraFailure>;

  constructor(failure: FailureClass, facts: EntraFailure = {}) {
    const { title, message, status, downstream, alert, isChoice = false } = failures[failure];
    const hint = operatorHint(failure, facts);
    const wait = facts.retryAfterSeconds;
    const words =
      failure === 'transient' && wait !== undefined
        ? `Microsoft is busy or cannot be reached. Try again ${inTime(wait)}.`
        : message;
    super(`entra_${failure}`, status, words, {
      ...('cause' in facts && { cause: facts.cause }),
      ...(hint && { hint }),
    });
    this.failure = failure;
    this.title = title;
    // Told silently, the application can ask again aloud (OIDC Core §3.1.2.6); told aloud, the person was refused.
    this.downstream = failure === 'consent' && facts.wasSilent ? 'consent_required' : downstream;
    this.alert = alert;
    this.isChoice = isChoice;
    this.facts = facts;
  }
}

function inTime(seconds: number): string {
  if (seconds <= 90) return `in ${Math.max(1, seconds)} seconds`;
  return `in ${Math.ceil(seconds / 60)} minutes`;
}
