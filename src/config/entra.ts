// The section `entra` of signet.yaml: whom Microsoft vouches for, with which credential, and what roles it gives. What
// the settings do is entra/ and accounts/role-mapping.ts.

import { z } from 'zod';
import { type Cloud, clouds, cloudWith } from './clouds.ts';
import { day, duration, issue, line, pattern, secret, text, urlWithPassword, when } from './fields.ts';
import {
  dateRule,
  domainRule,
  entraIssuerRule,
  entraTenantRule,
  guidPattern,
  httpsOriginRule,
  proxyUrlRule,
} from './rules.ts';

const guid = () =>
  pattern(guidPattern, 'must be a GUID, such as 72f988bf-86f1-41af-91ab-2d7cd011db47').transform((value) =>
    value.toLowerCase(),
  );

const clientCredential = {
  clientSecret: z
    .string()
    .min(1)
    .optional()
    .meta(secret)
    .describe('The client secret. Prefer clientSecretFile, which is read again when it changes.'),
  clientSecretFile: z.string().min(1).optional().describe('File with the client secret.'),
  secretExpiresAt: text(dateRule)
    .optional()
    .describe('When the client secret expires, so that somebody is told before it does: Microsoft does not tell us.'),
  certificateFile: z
    .string()
    .min(1)
    .optional()
    .describe(
      'File with the certificate that is registered with the app, instead of a secret: PEM, or PKCS#12 ' +
        '(.pfx, .p12) with its key.',
    ),
  privateKeyFile: z
    .string()
    .min(1)
    .optional()
    .describe('PEM file with its private key (RSA). Default: it is in certificateFile, too.'),
  passphrase: z
    .string()
    .min(1)
    .optional()
    .meta(secret)
    .describe('What the private key, or the PKCS#12 file, is encrypted with.'),
  passphraseFile: z.string().min(1).optional().describe('File with the passphrase.'),
  federatedTokenFile: z
    .string()
    .min(1)
    .optional()
    .describe('File with a token of a federated identity (workload identity), read each time; instead of a secret.'),
};

type ClientCredential = z.output<z.ZodObject<typeof clientCredential>>;

function credentialProblems(given: ClientCredential): Array<{ at: PropertyKey[]; message: string }> {
  const kinds = (['clientSecret', 'clientSecretFile', 'certificateFile', 'federatedTokenFile'] as const).filter(
    (name) => given[name] !== undefined,
  );
  const problems = [];
  if (kinds.length !== 1) {
    const found = kinds.length === 0 ? 'it has none' : `it has ${kinds.join(' and ')}`;
    const message = 'needs exactly one of clientSecret, clientSecretFile, certificateFile and federatedTokenFile; ';
    problems.push({ at: [], message: message + found });
  }
  for (const name of ['privateKeyFile', 'passphrase', 'passphraseFile'] as const) {
    if (given[name] === undefined || given.certificateFile !== undefined) continue;
    problems.push({ at: [name], message: 'belongs to certificateFile, which is not there; remove it' });
  }
  if (given.passphrase !== undefined && given.passphraseFile !== undefined) {
    problems.push({ at: ['passphraseFile'], message: 'is set along with passphrase; keep one' });
  }
  return problems;
}

const signetRoles = z.array(z.string().min(1).max(60));

const appRoles = (description: string) => z.record(z.string().min(1), signetRoles).default({}).describe(description);

export const roleMapping = z.strictObject({
  appRoles: appRoles('For each app role of the token, the roles it gives here. For a single tenant only.'),
  tenants: z
    .record(guid(), z.strictObject({ appRoles: appRoles('The roles that app roles of this tenant give.') }))
    .default({})
    .describe('With a tenant that is no GUID: for each tenant (its GUID), appRoles that count in it.'),
  // Names can be chosen by whoever makes a group.
  groups: z.record(guid(), signetRoles).default({}).describe('For each group (its GUID), the roles it gives here.'),
});

/** Who has an app role in a tenant, its administrator says: so no mapping holds for a tenant that it does not name. */
export function appRoleProblem(tenant: string | undefined, { appRoles, tenants }: z.output<typeof roleMapping>) {
  const [isOne, given] = [guidPattern.test(tenant ?? ''), (map: object) => Object.keys(map).length > 0];
  if (!isOne && given(appRoles)) {
    return issue(
      ['appRoles'],
      'is for a single tenant, since whoever runs another gives out its app roles at will; ' +
        'write tenants.<guid>.appRoles for each tenant whose app roles count',
    );
  }
  if (isOne && given(tenants)) {
    return issue(['tenants'], 'is for several tenants, and tenant names one; write appRoles');
  }
  return undefined;
}

const customCloud = z
  .strictObject({
    login: text(httpsOriginRule).describe(
      'ADVANCED: instead of cloud, a Microsoft cloud that is not one of those, by its ' +
        'three hosts. Where people sign in, such as https://login.sovcloud-identity.fr.',
    ),
    issuer: text(entraIssuerRule).describe(
      '"iss" of its tokens, with {tenantid} in place of the tenant, such as ' +
        'https://login.sovcloud-identity.fr/{tenantid}/v2.0.',
    ),
    graph: text(httpsOriginRule).describe('Its Microsoft Graph.'),
  })
  .superRefine(
    (hosts, ctx) => {
      for (const [name, url] of Object.entries(hosts)) {
        const known = cloudWith(new URL(url).host);
        // Half of one cloud and half of another would show the tokens of people to somebody else's.
        if (known !== undefined)
          ctx.addIssue(issue([name], `is a host of a known cloud; write cloud: ${known} instead`));
      }
    },
    when('login', 'issuer', 'graph'),
  );

const consumersTenant = '9188040d-6c67-4c5b-b112-36a304b66dad';

export const entra = z
  .strictObject({
    tenant: text(entraTenantRule)
      .transform((value) => value.toLowerCase())
      .describe('Who may sign in: the GUID of one tenant; or organizations, common or consumers, with allowedTenants.'),
    allowedTenants: z
      .array(guid())
      .default([])
      .describe(`With a tenant that is no GUID: whose people may sign in. Personal accounts are ${consumersTenant}.`),
    allowAnyTenant: z
      .boolean()
      .default(false)
      .describe('DANGER: lets people of every organisation in the world sign in, instead of allowedTenants.'),
    cloud: z
      .enum(Object.keys(clouds) as Cloud[])
      .optional()
      .describe(
        'The Microsoft cloud that the tenant is in; fixes all host names. external-id is ' +
          'Entra External ID, for customers (ciamlogin.com). Default: public.',
      ),
    customCloud: customCloud.optional().describe('A Microsoft cloud that is not one of those, instead.'),
    clientId: guid().describe('Application (client) ID of the app registration.'),
    ...clientCredential,
    secondary: z
      .strictObject(clientCredential)
      .optional()
      .describe('A second credential, tried when Microsoft refuses the first: for changing it without downtime.'),
    customSigningKeys: z
      .boolean()
      .default(false)
      .describe('Whether the app has signing keys of its own, as claims mapping requires (AADSTS50146).'),
    responseMode: z
      .enum(['query', 'form_post'])
      .default('query')
      .describe('How Microsoft sends people back. form_post keeps the code out of the address.'),
    guests: z
      .enum(['allow', 'deny'])
      .default('allow')
      .describe('Whether guests of the tenant may sign in. deny needs the optional claim acct: without, nobody may.'),
    graph: z
      .boolean()
      .default(false)
      .describe('Whether to ask Microsoft Graph (User.Read) for the groups of people who are in too many for a token.'),
    groups: z
      .strictObject({
        forceGraph: z
          .boolean()
          .default(false)
          .describe('Whether to ask Graph at every sign-in, whatever the token says.'),
        allowList: z
          .array(guid())
          .default([])
          .describe('Groups that are taken notice of. Default: all. Graph also names groups not assigned to the app.'),
        onOverageFailure: z
          .enum(['deny', 'omit'])
          .default('deny')
          .describe('When the groups cannot be learnt: refuse the sign-in, or go on without any group.'),
      })
      .prefault({})
      .describe('Groups of people.'),
    trustedEmailDomains: z
      .array(text(domainRule))
      .default([])
      .describe(
        'Domains that your tenant owns: addresses in them count as verified, of its own people and never of ' +
          'guests. Needs the optional claim acct. For a single tenant only.',
      ),
    linkByVerifiedEmail: z
      .boolean()
      .default(false)
      .describe('Whether a Microsoft account joins the local account of the same e-mail, verified on both sides.'),
    roles: roleMapping.prefault({}).describe('Which roles people have.'),
    recheck: z
      .strictObject({
        every: duration(0, day, 'How often Microsoft is asked again, when tokens are refreshed; 0 is off.').prefault(
          '15m',
        ),
        grace: duration(0, 7 * day, 'How long people go on while Microsoft cannot be asked.').prefault('8h'),
      })
      .prefault({})
      .describe('Whether a person still may sign in, asked at refresh.'),
    domains: z
      .array(text(domainRule))
      .default([])
      .describe('People with e-mail addresses in these domains are sent to Microsoft.'),
    mode: z
      .enum(['mixed', 'entra-only', 'local-only'])
      .default('mixed')
      .describe('Which ways to sign in the page offers. Local administrators always have a way in.'),
    logout: z
      .strictObject({
        propagate: z
          .enum(['never', 'ask', 'always'])
          .default('ask')
          .describe('Whether signing out here signs people out at Microsoft, too.'),
      })
      .prefault({})
      .describe('Signing out.'),
    acrValues: z
      .record(
        z.string().min(1),
        pattern(/^c([1-9]|[1-9]\d)$/, 'must be the ID of an authentication context, c1 to c99'),
      )
      .default({})
      .describe('For each acr that applications may ask for, the Conditional Access context that gives it.'),
    proxy: text(proxyUrlRule)
      .optional()
      .meta(urlWithPassword)
      .describe('HTTP proxy through which Microsoft is reached.'),
    label: line(40).default('Microsoft').describe('Name on the button.'),
  })
  .superRefine(
    (given, ctx) => {
      for (const { at, message } of credentialProblems(given)) ctx.addIssue(issue(at, message));
      if (!given.secondary) return;
      for (const { at, message } of credentialProblems(given.secondary)) {
        ctx.addIssue(issue(['secondary', ...at], message));
      }
    },
    when('secondary', ...Object.keys(clientCredential)),
  )
  .superRefine(
    ({ tenant, allowedTenants, allowAnyTenant }, ctx) => {
      const refuse = (name: string, message: string) => ctx.addIssue(issue([name], message));
      if (guidPattern.test(tenant)) {
        if (allowAnyTenant) refuse('allowAnyTenant', 'contradicts tenant, which names one; remove it');
        const others = allowedTenants.some((allowed) => allowed !== tenant);
        if (others)
          refuse('allowedTenants', 'names another tenant than tenant does; for several: tenant: organizations');
        return;
      }
      if (allowAnyTenant && allowedTenants.length > 0) refuse('allowAnyTenant', 'makes allowedTenants void; keep one');
      if (allowAnyTenant || allowedTenants.length > 0) return;
      refuse('allowedTenants', `must list the tenants whose people may sign in, since tenant is ${tenant}`);
    },
    when('tenant', 'allowedTenants', 'allowAnyTenant'),
  )
  .superRefine(
    ({ tenant, trustedEmailDomains }, ctx) => {
      if (trustedEmailDomains.length === 0 || guidPattern.test(tenant)) return;
      const message = 'is for a single tenant: whoever runs another tenant can write any address into it; remove it';
      ctx.addIssue(issue(['trustedEmailDomains'], message));
    },
    when('tenant', 'trustedEmailDomains'),
  )
  .superRefine(
    ({ tenant, roles }, ctx) => {
      const problem = appRoleProblem(tenant, roles);
      if (problem) ctx.addIssue({ ...problem, path: ['roles', ...problem.path] });
    },
    when('tenant', 'roles'),
  )
  .superRefine(
    ({ cloud, customCloud: custom }, ctx) => {
      if (cloud === undefined || custom === undefined) return;
      ctx.addIssue(issue(['customCloud'], `is set along with cloud (${cloud}), whose hosts are others; keep one`));
    },
    when('cloud', 'customCloud'),
  )
  .superRefine(
    ({ cloud, tenant }, ctx) => {
      if (cloud !== 'external-id' || guidPattern.test(tenant)) return;
      const message = `must be the GUID of the external tenant: in External ID each has a host of its own, and ${tenant} none`;
      ctx.addIssue(issue(['tenant'], message));
    },
    when('cloud', 'tenant'),
  )
  .superRefine(
    ({ graph, groups }, ctx) => {
      if (graph || !groups.forceGraph) return;
      ctx.addIssue(issue(['groups', 'forceGraph'], 'needs graph: true'));
    },
    when('graph', 'groups'),
  );
