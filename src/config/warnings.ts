// What is right by every standard and yet likely to go wrong with software as it is. A server starts all the same: each
// of these is a sentence for whoever wrote the configuration, and is told by config check, clients add and the start.

import { isUnreserved, otherSpelling } from './application-rules.ts';
import type { ApiConfig, ApplicationConfig } from './applications.ts';
import { minute } from './fields.ts';
import type { Path } from './problems.ts';
import { formatDuration } from './rules.ts';
import type { ParsedSettings } from './schema.ts';

interface Declared {
  applications: readonly ApplicationConfig[];
  apis: readonly ApiConfig[];
  tokens: Pick<ParsedSettings['tokens'], 'accessTokenLife'>;
}

interface Warning {
  path: Path;
  message: string;
}

/** @param secrets where client secrets stand in clear, with what they are: it is not repeated */
export function warningsOf(config: Declared, secrets: ReadonlyArray<{ path: Path; secret: string }>): Warning[] {
  return [...shortLives(config), ...spellings(config), ...hardToSend(config, secrets)];
}

// oidc-client-ts renews a token 60 s before its end, and so one that lives as long at once, in every tab.
const renewedAhead = minute;

function shortLives({ applications, apis, tokens }: Declared): Warning[] {
  const found = new Map<string, { path: Path; life: number; clientIds: Set<string> }>();
  const note = (path: Path, life: number, clientId: string) => {
    if (life >= 2 * renewedAhead) return;
    const known = found.get(String(path)) ?? { path, life, clientIds: new Set() };
    found.set(String(path), known);
    known.clientIds.add(clientId);
  };
  for (const [index, { clientId, type, access, accessTokenLife }] of applications.entries()) {
    if (type !== 'spa' && type !== 'native') continue;
    if (accessTokenLife !== undefined) {
      note(['applications', index, 'accessTokenLife'], accessTokenLife, clientId);
      continue;
    }
    const called = [...apis.entries()].filter(([, { audience }]) => Object.hasOwn(access, audience));
    for (const [at, api] of called) {
      if (api.accessTokenLife !== undefined) note(['apis', at, 'accessTokenLife'], api.accessTokenLife, clientId);
    }
    const isGeneral = called.length === 0 || called.some(([, api]) => api.accessTokenLife === undefined);
    if (isGeneral) note(['tokens', 'accessTokenLife'], tokens.accessTokenLife, clientId);
  }
  return [...found.values()].map(({ path, life, clientIds }) => ({
    path,
    message:
      `is ${formatDuration(life)}: a library in ${[...clientIds].join(', ')} that renews a token a minute before ` +
      'its end (oidc-client-ts does, AppAuth-JS ten minutes before) would renew without a pause; write 2m or more, and ' +
      'for AppAuth-JS more than 10m',
  }));
}

function spellings({ applications }: Declared): Warning[] {
  return applications.flatMap((application, index) =>
    (['redirectUris', 'postLogoutRedirectUris'] as const).flatMap((name) =>
      application[name].flatMap((uri, at) => {
        const other = otherSpelling(uri);
        if (other === undefined || application[name].includes(other)) return [];
        return [
          {
            path: ['applications', index, name, at],
            message:
              `is compared as it is written, character by character (RFC 9700 §2.1); an application that sends ${other}` +
              ' is refused, so write it as the application does',
          },
        ];
      }),
    ),
  );
}

const rawBasic =
  'has characters that mean something else unless they are encoded (RFC 6749 Appendix B), and several ' +
  'libraries send it in the Authorization header without that';

function hardToSend({ applications }: Declared, secrets: ReadonlyArray<{ path: Path; secret: string }>): Warning[] {
  const ids = applications.flatMap(({ clientId, secretHash }, index) =>
    secretHash === undefined || isUnreserved(clientId)
      ? []
      : [
          {
            path: ['applications', index, 'clientId'],
            message: `${rawBasic}; letters, digits and . _ ~ - are safe`,
          },
        ],
  );
  return [
    ...ids,
    ...secrets
      .filter(({ secret }) => !isUnreserved(secret))
      .map(({ path }) => ({
        path,
        message: `${rawBasic} (Authlib, social-auth-core, httpx-oauth); make one that is safe: openssl rand -hex 32`,
      })),
  ];
}
