// The libraries that sign people in to applications: how each is built and started. Each is a small application in the
// folder of its language, told by the environment where it is and who it is, that answers at
//   /login     with a redirect to the issuer, and /callback with what the library then knows: {access_token, claims}
//   /userinfo  with the claims of userinfo
//   /refresh   as /callback
//   /logout    with a redirect to the issuer, and / with anything

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { cache, run } from '../contenders.ts';

export interface Library {
  name: string;
  /** Applications whose sign-in it is. */
  usedBy: string;
  /** Whether it sends a code challenge (RFC 7636). */
  pkce: boolean;
  /** What the library has no call for, or what it does not look at, in words. */
  lacks: Partial<Record<'userinfo' | 'refresh' | 'sign-out', string>>;
  note?: string;
  /** Builds it, and answers with the versions of what is tried. @throws where something is not on this machine */
  prepare(): string;
  command: string[];
}

const built = `${cache}/sign-in`;
const folder = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

const go = (name: string, program: string, modules: string[], traits: Omit<Library, 'name' | 'prepare' | 'command'>): Library => ({
  name: `Go, ${name}`,
  ...traits,
  prepare() {
    run('go', ['build', '-o', `${built}/${program}`, `./${program}`], folder('go'));
    return run('go', ['list', '-m', ...modules], folder('go')).trim().replace(/^[^ ]*?([^/ ]+(?:\/v\d+)?) v/gm, '$1 v').split('\n').join(', ');
  },
  command: [`${built}/${program}`],
});

const python = (name: string, program: string, packages: RegExp, traits: Omit<Library, 'name' | 'prepare' | 'command'>): Library => ({
  name: `Python, ${name}`,
  ...traits,
  prepare() {
    const pip = `${built}/python/bin/pip`;
    if (!existsSync(pip)) run('python3', ['-m', 'venv', `${built}/python`]);
    run(pip, ['install', '--quiet', '-r', `${folder('python')}/requirements.txt`]);
    return run(pip, ['freeze']).split('\n').filter((line) => packages.test(line)).join(', ').replaceAll('==', ' ');
  },
  command: [`${built}/python/bin/python`, `${folder('python')}/${program}.py`],
});

const node = (name: string, program: string, traits: Omit<Library, 'name' | 'prepare' | 'command'>): Library => ({
  name: `Node, ${name}`,
  ...traits,
  prepare() {
    run('npm', ['ci', '--silent', '--no-audit', '--no-fund'], folder('node'));
    const { version } = JSON.parse(readFileSync(`${folder('node')}/node_modules/${name}/package.json`, 'utf8'));
    return `${name} ${version}, Node ${process.version}`;
  },
  command: [process.execPath, `${folder('node')}/${program}.js`],
});

const noSignOut = 'no call for it: the application’s own session ends, the one at the issuer does not';

export const libraries: Library[] = [
  go('go-oidc and x/oauth2', 'goidc', ['github.com/coreos/go-oidc/v3', 'golang.org/x/oauth2'], {
    usedBy: 'Argo CD, Harbor, Vikunja, Headscale, oauth2-proxy, kubelogin; Grafana has x/oauth2', pkce: true, lacks: {},
    note: 'sign-out is an address that the application makes',
  }),
  go('goth', 'goth', ['github.com/markbates/goth'], {
    usedBy: 'Gitea, Forgejo', pkce: false, lacks: {},
    note: 'no PKCE, no nonce; does not look at the ID token’s signature; sign-out is an address that the application makes',
  }),
  go('hashicorp/cap', 'cap', ['github.com/hashicorp/cap'], {
    usedBy: 'Vault, OpenBao, Nomad, Consul, Boundary', pkce: true, lacks: { refresh: 'no call for it', 'sign-out': noSignOut },
  }),
  go('zitadel/oidc', 'zitadel', ['github.com/zitadel/oidc/v3'], {
    usedBy: 'Go applications', pkce: true, lacks: {}, note: 'signs out by POST',
  }),
  python('Authlib', 'authlib_app', /^(authlib|flask)=/i, {
    usedBy: 'Open WebUI, Mealie, Synapse', pkce: true, lacks: { 'sign-out': noSignOut }, note: 'PKCE where it is told',
  }),
  python('social-auth-core', 'social_auth_app', /^social-auth-core=/i, {
    usedBy: 'NetBox, Zulip', pkce: false, lacks: { 'sign-out': noSignOut },
  }),
  node('openid-client', 'openid_client', { usedBy: 'Immich, Audiobookshelf', pkce: true, lacks: {} }),
  node('passport-openidconnect', 'passport_app', {
    usedBy: 'Wiki.js, Outline has passport-oauth2', pkce: false,
    lacks: { userinfo: 'asked by itself at sign-in', refresh: 'no call for it', 'sign-out': noSignOut },
    note: 'does not look at the ID token’s signature',
  }),
];
