// signet verify: checks an access token as a service would, with the published verifier, over HTTP like everybody else.

import type { Command } from 'commander';
import { AppError } from '../errors.ts';
import { type AccessToken, createVerifier, VerificationError, type Verifier } from '../verifier/index.ts';
import { usageError } from './failure.ts';
import type { CliSession } from './session.ts';
import { facts, moment } from './tables.ts';

export function verifyCommand(program: Command, session: CliSession): void {
  program
    .command('verify')
    .description('check an access token as a service would, and print its claims')
    .argument('<token>', 'the token; - reads it from standard input, so that it stays out of the shell history')
    .option('--audience <audience>', 'the API that the token must be for')
    .option('--issuer <url>', 'the issuer to ask for keys (default: the configured one)')
    .action(async (word: string, given: { audience?: string; issuer?: string }) => {
      const token = (word === '-' ? await session.io.readInput() : word).trim();
      if (token === '') throw usageError('standard input holds no token');
      const issuer = given.issuer ?? session.config().issuer;
      const audience = given.audience ?? null;
      const { claims } = await verified(verifierOf(issuer, audience), token, issuer);
      if (audience === null) session.note('the audience was not checked; --audience names the API it must be for');
      const lines = Object.fromEntries(Object.entries(claims).map(([name, value]) => [name, shown(name, value)]));
      const document = { valid: true, audienceChecked: audience !== null, claims };
      session.answer(document, `The token is valid.\n\n${facts(lines)}`);
    });
}

function verifierOf(issuer: string, audience: string | null): Verifier {
  try {
    return createVerifier({ issuer, audience, service: 'signet-cli' });
  } catch (error) {
    if (error instanceof TypeError) throw usageError(`--issuer ${issuer}: ${error.message}`);
    throw error;
  }
}

async function verified(verifier: Verifier, token: string, issuer: string): Promise<AccessToken> {
  try {
    return await verifier.verify(token);
  } catch (error) {
    if (!(error instanceof VerificationError)) throw error;
    const { code, message, cause } = error;
    if (code === 'keys_unavailable' || code === 'revocation_unavailable') {
      const missing = code === 'keys_unavailable' ? 'keys' : 'status list';
      throw new AppError(code, 503, `the ${missing} of ${issuer} cannot be fetched${reason(cause)}`, {
        cause,
        hint: 'is the server running, and reachable under that address from here?',
      });
    }
    const hint = code === 'wrong_issuer' ? `it should be from ${issuer}; --issuer names another issuer` : hints[code];
    throw new AppError(code, 401, `the token is not valid: ${message} (${code})`, { cause, hint });
  } finally {
    verifier.close();
  }
}

const hints: Partial<Record<string, string>> = {
  wrong_type: 'services accept access tokens alone; this is an ID token, a refresh token or something else',
  wrong_audience: '--audience names the API; the application asks for it with the parameter resource',
  expired: 'get a new one with the refresh token',
  malformed: 'pass the token alone, without "Bearer " and without line breaks',
};

function reason(cause: unknown): string {
  return cause instanceof Error ? `: ${cause.message}` : '';
}

const moments = ['iat', 'exp', 'nbf', 'auth_time'];

function shown(name: string, value: unknown): string {
  if (typeof value === 'number' && moments.includes(name)) return moment(value * 1000);
  return typeof value === 'string' ? value : JSON.stringify(value);
}
