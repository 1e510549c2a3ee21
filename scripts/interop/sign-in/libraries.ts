// The libraries that sign people in to applications: how each is built and started. Each is a small application in the
// folder of its language, told by the environment where it is and who it is, that answers at
//   /login     with a redirect to the issuer, and /callback with what the library then knows: {access_token, claims}
//   /userinfo  with the claims of userinfo
//   /refresh   as /callback
//   /logout    with a redirect to the issuer, and / with anything

import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { cache, run } from '../contenders.ts';

export interface Library {
  name: string;
  /** Applications whose sign-in it is. */
  usedBy: string;
  /** Whether nobody signs in: it answers at /token with an access token of its own (client credentials) that it has
   * verified, as {access_token, claims}. */
  service?: boolean;
  /** Whether it sends a code challenge (RFC 7636). */
  pkce: boolean;
  /** Where the issuer sends people back to, where the library says it itself; otherwise "callback". */
  callback?: string;
  /** What the library has no call for, or what it does not look at, in words. */
  lacks: Partial<Record<'userinfo' | 'refresh' | 'sign-out', string>>;
  note?: string;
  /** Builds it, and answers with the versions of what is tried. @throws where something is not on this machine */
  prepare(): string;
  command: string[];
}

type Traits = Omit<Library, 'name' | 'prepare' | 'command'>;

const built = `${cache}/sign-in`;
const folder = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

const go = (name: string, program: string, modules: string[], traits: Traits): Library => ({
  name: `Go, ${name}`,
  ...traits,
  prepare() {
    run('go', ['build', '-o', `${built}/${program}`, `./${program}`], folder('go'));
    const versions = run('go', ['list', '-m', ...modules], folder('go'))
      .trim()
      .split('\n');
    return versions.map((line) => line.replace(/^.*?([^/ ]+(?:\/v\d+)?) v/, '$1 v')).join(', ');
  },
  command: [`${built}/${program}`],
});

const python = (name: string, program: string, packages: RegExp, traits: Traits): Library => ({
  name: `Python, ${name}`,
  ...traits,
  prepare() {
    const pip = `${built}/python/bin/pip`;
    if (!existsSync(pip)) run('python3', ['-m', 'venv', `${built}/python`]);
    run(pip, ['install', '--quiet', '-r', `${folder('python')}/requirements.txt`]);
    return run(pip, ['freeze'])
      .split('\n')
      .filter((line) => packages.test(line))
      .join(', ')
      .replaceAll('==', ' ');
  },
  command: [`${built}/python/bin/python`, `${folder('python')}/${program}.py`],
});

const node = (name: string, program: string, traits: Traits): Library => ({
  name: `Node, ${name}`,
  ...traits,
  prepare() {
    run('npm', ['ci', '--silent', '--no-audit', '--no-fund'], folder('node'));
    const { version } = JSON.parse(readFileSync(`${folder('node')}/node_modules/${name}/package.json`, 'utf8'));
    return `${name} ${version}, Node ${process.version}`;
  },
  command: [process.execPath, `${folder('node')}/${program}.js`],
});

const askedAtSignIn = 'asked by itself at sign-in';
const noSignOut = 'no call for it: the application’s own session ends, the one at the issuer does not';

const java: Library = {
  name: 'Java, kafka-clients',
  usedBy: 'Kafka, its clients and brokers',
  service: true,
  pkce: false,
  lacks: {},
  note: 'OAUTHBEARER without a broker: the token by client credentials, and the broker’s own validator; does not look at `typ`',
  prepare() {
    // Maven builds beside the sources; a copy keeps them as they are.
    cpSync(folder('java'), `${built}/java`, { recursive: true });
    run('mvn', ['--batch-mode', '--quiet', 'package', 'dependency:copy-dependencies'], `${built}/java`);
    const jars = readdirSync(`${built}/java/target/dependency`);
    const versionOf = (name: string) =>
      jars.map((jar) => new RegExp(`^${name}-([\\d.]+)\\.jar$`).exec(jar)?.[1]).find(Boolean);
    const named = ['kafka-clients', 'jose4j'].map((name) => `${name} ${versionOf(name)}`);
    return [...named, `Java ${run('java', ['--version']).split(' ')[1]}`].join(', ');
  },
  command: [
    'java',
    '-XX:TieredStopAtLevel=1',
    '-cp',
    `${built}/java/target/classes:${built}/java/target/dependency/*`,
    'Kafka',
  ],
};

const rust: Library = {
  name: 'Rust, openidconnect',
  usedBy: 'Vaultwarden, Proxmox VE',
  pkce: true,
  lacks: {},
  note:
    'keys are fetched with discovery alone: the next one is known for being published ahead, the one after that once ' +
    'it has discovered anew',
  prepare() {
    run('cargo', ['build', '--quiet', '--locked', '--target-dir', `${built}/rust`], folder('rust'));
    const lock = readFileSync(`${folder('rust')}/Cargo.lock`, 'utf8');
    const version = /name = "openidconnect"\nversion = "(.*?)"/.exec(lock)?.[1];
    return `openidconnect ${version}, ${run('rustc', ['--version']).trim().split(' ').slice(0, 2).join(' ')}`;
  },
  command: [`${built}/rust/debug/sign-in`],
};

export const libraries: Library[] = [
  go('go-oidc and x/oauth2', 'goidc', ['github.com/coreos/go-oidc/v3', 'golang.org/x/oauth2'], {
    usedBy: 'Argo CD, Harbor, Vikunja, Headscale, oauth2-proxy, kubelogin; Grafana has x/oauth2',
    pkce: true,
    lacks: {},
    note: 'sign-out is an address that the application makes',
  }),
  go('goth', 'goth', ['github.com/markbates/goth'], {
    usedBy: 'Gitea, Forgejo',
    pkce: false,
    lacks: {},
    note: 'no PKCE, no nonce; does not look at the ID token’s signature; sign-out is an address that the application makes',
  }),
  go('hashicorp/cap', 'cap', ['github.com/hashicorp/cap'], {
    usedBy: 'Vault, OpenBao, Nomad, Consul, Boundary',
    pkce: true,
    lacks: { refresh: 'no call for it', 'sign-out': noSignOut },
  }),
  go('zitadel/oidc', 'zitadel', ['github.com/zitadel/oidc/v3'], {
    usedBy: 'Go applications',
    pkce: true,
    lacks: {},
    note: 'signs out by POST',
  }),
  python('Authlib', 'authlib_app', /^(authlib|flask)=/i, {
    usedBy: 'Open WebUI, Mealie, Synapse',
    pkce: true,
    lacks: { 'sign-out': noSignOut },
    note: 'PKCE where it is told',
  }),
  python('social-auth-core', 'social_auth_app', /^social-auth-(core|app-django)=/i, {
    usedBy: 'NetBox, Zulip',
    pkce: false,
    callback: 'complete/oidc/',
    lacks: { userinfo: askedAtSignIn, 'sign-out': noSignOut },
  }),
  python('django-allauth', 'allauth_app', /^django-allauth=/i, {
    usedBy: 'Paperless-ngx',
    pkce: true,
    callback: 'accounts/oidc/signet/login/callback/',
    lacks: { userinfo: askedAtSignIn, refresh: 'no call for it', 'sign-out': noSignOut },
    note: 'PKCE where it is told; no nonce; does not look at the ID token’s signature',
  }),
  node('openid-client', 'openid_client', { usedBy: 'Immich, Audiobookshelf', pkce: true, lacks: {} }),
  node('passport-openidconnect', 'passport_app', {
    usedBy: 'Wiki.js',
    pkce: false,
    lacks: { userinfo: askedAtSignIn, refresh: 'no call for it', 'sign-out': noSignOut },
    note: 'does not look at the ID token’s signature',
  }),
  java,
  rust,
];
