// signet clients: the applications. A new one passes the same checks as one that signet.yaml declares, because it is
// loaded as one; the rest of the configuration is there for what an application may refer to.

import { type Command, Option } from 'commander';
import type { NewClient, RegisteredClient } from '../clients/clients.ts';
import { type Config, ConfigError, type ConfigProblem, configWarnings, loadConfig } from '../config/config.ts';
import { usageError } from './failure.ts';
import type { CliSession } from './session.ts';
import { facts, moment, table } from './tables.ts';

interface Given {
  name: string;
  type: NewClient['type'];
  id?: string;
  redirectUri?: string[];
  postLogoutRedirectUri?: string[];
  clientUri?: string;
  backchannelLogoutUri?: string;
  backchannelLogoutSessionRequired?: boolean;
  origin?: string[];
  allowRedirectSchemesThatAnyAppMayClaim?: boolean;
  firstParty?: boolean;
  pkce?: string;
  access?: string[];
  defaultAudience?: string;
}

export function clientCommands(program: Command, session: CliSession): void {
  const clients = program.command('clients').description('the applications that people sign in to, and services');

  clients
    .command('add')
    .description('register an application; its secret, where it has one, is printed once')
    .requiredOption('--name <name>', 'name that people see')
    .addOption(
      new Option(
        '--type <type>',
        'spa: in the browser. web: a server with a secret. native: on a device. ' + 'service: no person, a secret',
      )
        .choices(['spa', 'web', 'native', 'service'])
        .makeOptionMandatory(),
    )
    .option('--id <id>', 'its client_id (default: a random one)')
    .option('--redirect-uri <uri>', 'where people return after sign-in; repeat for several', repeated)
    .option('--post-logout-redirect-uri <uri>', 'where people may return after sign-out; repeat for several', repeated)
    .option('--client-uri <uri>', 'where people find it: the way on from pages that lead nowhere else')
    .option('--backchannel-logout-uri <uri>', 'where it is told that a session has ended')
    .option('--backchannel-logout-session-required', 'a logout token is of use to it only with a session in it')
    .option('--origin <origin>', 'whose pages may call the token endpoint (CORS); repeat for several', repeated)
    .option(
      '--allow-redirect-schemes-that-any-app-may-claim',
      'DANGER, native only: redirect URIs may have a scheme without a dot, such as vscode:',
    )
    .option('--first-party', 'people are not asked for consent')
    .addOption(
      new Option('--pkce <rule>', 'whether sign-in needs PKCE; optional is for type web only').choices([
        'required',
        'optional',
      ]),
    )
    .option(
      '--access <audience=scopes>',
      'an API it may call, such as ' + 'https://orders.example.com=orders:read,orders:write; repeat for several',
      repeated,
    )
    .option('--default-audience <audience>', 'audience of a token when a request names no API')
    .action(async (given: Given) => {
      const { wanted, warnings } = checked(given, session.config());
      const { application, secret } = await session.withStore(({ clients }) => clients.register(wanted, session.actor));
      const document = { application: shown(application), ...(secret && { secret }), warnings };
      if (!session.json) for (const warning of warnings) session.warn(warning);
      session.answer(
        document,
        `application ${application.name} registered

${facts({ 'client id': application.clientId, 'client secret': secret })}${secret ? secretNote : ''}`,
      );
    });

  clients
    .command('list')
    .description('show all applications, those of signet.yaml first')
    .action(async () => {
      const all = await session.withStore((store) => store.clients.list());
      const rows = all.map((application) => [
        application.clientId,
        application.name,
        application.type,
        application.declared ? 'signet.yaml' : 'registered',
        application.disabledAt ? `disabled since ${moment(application.disabledAt)}` : 'active',
      ]);
      session.answer(
        { applications: all.map(shown) },
        all.length === 0
          ? 'There are no applications yet. Register one with signet clients add, or declare it in signet.yaml.'
          : table(['CLIENT ID', 'NAME', 'TYPE', 'FROM', 'STATE'], rows),
      );
    });

  clients
    .command('secret')
    .description('make a new secret and print it, once; the old one stops at once')
    .argument('<id>', 'the client_id')
    .action(async (clientId: string) => {
      const secret = await session.withStore((store) => store.clients.renewSecret(clientId, session.actor));
      session.answer(
        { clientId, secret },
        `application ${clientId} has a new secret; the old one is no longer accepted

${facts({ 'client secret': secret })}${secretNote}`,
      );
    });

  clients
    .command('disable')
    .description('keep an application from being used, also one of signet.yaml: what it was given ends')
    .argument('<id>', 'the client_id')
    .action((clientId: string) => setDisabled(session, clientId, true));

  clients
    .command('enable')
    .description('let a disabled application be used again')
    .argument('<id>', 'the client_id')
    .action((clientId: string) => setDisabled(session, clientId, false));
}

const secretNote = '\n\nThe secret is shown this once; only its hash is kept.';

async function setDisabled(session: CliSession, clientId: string, disabled: boolean): Promise<void> {
  await session.withStore((store) => store.clients.setDisabled(clientId, disabled, session.actor));
  const isDeclared = session.config().applications.some((one) => one.clientId === clientId);
  const wins = isDeclared ? `, whatever signet.yaml says of it, until: signet clients enable ${clientId}` : '';
  session.answer(
    { clientId, disabled },
    disabled
      ? `application ${clientId} is disabled${wins}; a running server follows within seconds`
      : `application ${clientId} is enabled; a running server follows within seconds`,
  );
}

// Stands for the secret that is not made yet, so that the rule "exactly one secret" is met. It is never stored.
const secretToCome = '0'.repeat(64);

/** The application, checked and completed as if signet.yaml declared it, and what is unwise about it. */
function checked(given: Given, config: Config): { wanted: NewClient; warnings: string[] } {
  const {
    issuer,
    apis,
    tokens: { accessTokenLife },
  } = config;
  const declared = {
    clientId: given.id ?? 'made-later',
    name: given.name,
    type: given.type,
    ...(given.type === 'web' || given.type === 'service' ? { secretSha256: secretToCome } : {}),
    redirectUris: given.redirectUri,
    postLogoutRedirectUris: given.postLogoutRedirectUri,
    clientUri: given.clientUri,
    backchannelLogoutUri: given.backchannelLogoutUri,
    backchannelLogoutSessionRequired: given.backchannelLogoutSessionRequired,
    origins: given.origin,
    allowRedirectSchemesThatAnyAppMayClaim: given.allowRedirectSchemesThatAnyAppMayClaim,
    firstParty: given.firstParty,
    pkce: given.pkce,
    access: given.access && Object.fromEntries(given.access.map(readAccess)),
    defaultAudience: given.defaultAudience,
  };
  try {
    const loaded = loadConfig({
      env: {},
      values: { issuer, apis, tokens: { accessTokenLife }, applications: [declared] },
    });
    const [application] = loaded.applications;
    if (!application) throw new Error('the application that was declared is not there');
    const { secretHash: _placeholder, clientId: _clientId, ...wanted } = application;
    const warnings = configWarnings(loaded).map(inOptions);
    return { wanted: { ...wanted, ...(given.id && { clientId: given.id }) }, warnings };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw usageError(
      `the application cannot be registered:${error.problems.map((problem) => `\n  ${inOptions(problem)}`).join('')}`,
      error.problems.some(({ path }) => path.startsWith('applications[0].access'))
        ? 'declare the API in signet.yaml, and restart the server: apis: [{ audience: "https://orders.example.com", ' +
            'name: Orders, scopes: { "orders:read": See your orders } }]'
        : 'run: signet clients add --help',
    );
  }
}

function readAccess(text: string): [string, string[]] {
  // The last one: an audience is a URI and may have a query.
  const at = text.lastIndexOf('=');
  const scopes = text
    .slice(at + 1)
    .split(',')
    .filter((scope) => scope !== '');
  if (at > 0 && scopes.length > 0) return [text.slice(0, at), scopes];
  throw usageError(`--access ${text} does not name scopes`, 'write it as audience=scope,scope');
}

const options: Record<string, string> = {
  clientId: '--id',
  name: '--name',
  type: '--type',
  redirectUris: '--redirect-uri',
  origins: '--origin',
  pkce: '--pkce',
  clientUri: '--client-uri',
  postLogoutRedirectUris: '--post-logout-redirect-uri',
  backchannelLogoutUri: '--backchannel-logout-uri',
  backchannelLogoutSessionRequired: '--backchannel-logout-session-required',
  access: '--access',
  defaultAudience: '--default-audience',
  allowRedirectSchemesThatAnyAppMayClaim: '--allow-redirect-schemes-that-any-app-may-claim',
};

/** A problem of applications[0].redirectUris[1] is one of the second --redirect-uri. */
function inOptions({ path, message }: ConfigProblem): string {
  const [, name = '', rest = ''] = /^applications\[0\]\.(\w+)(.*)$/.exec(path) ?? [];
  const position = /^\[(\d+)\]$/.exec(rest)?.[1];
  const where =
    position === undefined
      ? rest.replace(/^\["(.*)"\].*$/, ' $1').replace(/^\./, ' ')
      : ` (number ${Number(position) + 1})`;
  return `${options[name] ?? path}${where}: ${message}`;
}

function shown({
  secretHash,
  ...application
}: RegisteredClient): Omit<RegisteredClient, 'secretHash'> & { hasSecret: boolean } {
  return { ...application, hasSecret: secretHash !== undefined };
}

const repeated = (value: string, before: string[] = []) => [...before, value];
