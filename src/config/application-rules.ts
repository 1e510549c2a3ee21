// What applications and APIs may be called by and where people and tokens may be sent: each limit is that of a standard,
// or has its reason beside it. What is legal and yet unwise is a warning (warnings.ts), not a problem.

import { isWeb, parse, type Rule, transportProblem } from './rules.ts';

/** VSCHAR (RFC 6749 Appendix A.1). The length is ours: it is in every token, event and log line. */
export const clientIdPattern = /^[\x20-\x7e]{1,255}$/;

export const clientIdRule: Rule = (value) => {
  if (!clientIdPattern.test(value)) return 'must be 1 to 255 printable ASCII characters (RFC 6749 Appendix A.1)';
  if (value !== value.trim()) return 'must not begin or end with a space';
  return value === '__proto__' ? 'is a name that no object of JavaScript can have; choose another' : undefined;
};

/** RFC 6749 Appendix A.2; and of a shorter one somebody could try all that there are, as only a plain digest is kept. */
export const clientSecretRule: Rule = (value) => {
  if (value.length < 32) return 'must have 32 characters or more: openssl rand -hex 32';
  if (/[^\x20-\x7e]/.test(value)) {
    return 'must be printable ASCII on one line, or no library can send it (RFC 6749 Appendix A.2): openssl rand -hex 32';
  }
  return undefined;
};

/** Characters that mean the same encoded and not (RFC 3986 §2.3). */
export function isUnreserved(value: string): boolean {
  return /^[\w.~-]*$/.test(value);
}

export const redirectUriRule: Rule = (value) => {
  if (/[\s\\\p{Cc}\p{Cs}]/u.test(value)) return 'must not contain spaces, control characters or backslashes';
  const url = parse(value);
  if (!url) return 'must be an absolute URI, such as https://app.example.com/callback';
  if (value.includes('*')) return 'must not contain a wildcard; list every URI (RFC 9700 §4.1.1)';
  if (value.includes('#')) return 'must not have a fragment (RFC 6749 §3.1.2)';
  if (url.username || url.password) return 'must not carry a user name or password';
  // RFC 3986 §4.3 wants "//" and an authority; a parser of URLs puts them there, and then compares something else.
  if (isWeb(url) && !/^https?:\/\/[^/?]/i.test(value)) return `must be written as ${url.href}`;
  return isWeb(url) ? transportProblem(url) : undefined;
};

/** As a browser would write a URI, where that is something else: for it is compared as it is written. */
export function otherSpelling(uri: string): string | undefined {
  const { href = uri } = parse(uri) ?? {};
  return uri === href || `${uri}/` === href ? undefined : href;
}

// Not an application's own: run as a script, read from the device, or taken by something else wherever that is.
const foreignSchemes = new Set([
  'about',
  'blob',
  'chrome',
  'content',
  'data',
  'file',
  'filesystem',
  'ftp',
  'intent',
  'jar',
  'javascript',
  'ldap',
  'ldaps',
  'livescript',
  'mailto',
  'mhtml',
  'mocha',
  'ms-appx',
  'resource',
  'sms',
  'tel',
  'urn',
  'vbscript',
  'view-source',
  'ws',
  'wss',
]);

/** What the type says of the scheme. Private-use schemes (RFC 8252 §7.1) belong to native applications. */
export function schemeRule(type: string, { allowUndotted = false } = {}): Rule {
  return (value) => {
    const url = parse(value);
    if (!url) return undefined;
    if (isWeb(url)) return type === 'native' ? nativeHostProblem(url) : undefined;
    if (foreignSchemes.has(url.protocol.slice(0, -1))) {
      return `must not use the scheme ${url.protocol.slice(0, -1)}, which is no application's own`;
    }
    if (type !== 'native') return 'must be https (http on loopback); other schemes are for applications of type native';
    if (allowUndotted || url.protocol.includes('.')) return undefined;
    return (
      'must use a scheme named after a domain, such as com.example.app:/callback (RFC 8252 §7.1): any application ' +
      'may claim another. Where it cannot be changed: allowRedirectSchemesThatAnyAppMayClaim: true'
    );
  };
}

// RFC 8252 §7.3 names the loopback addresses, and §7.2 an https address that nobody else can have.
function nativeHostProblem({ protocol, hostname }: URL): string | undefined {
  const isNamed = ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
  if (protocol === 'http:')
    return isNamed ? undefined : 'must have 127.0.0.1, [::1] or localhost as host (RFC 8252 §7.3)';
  return isNamed ? 'must not be https on loopback: write http, or use a domain of its own (RFC 8252 §7.2)' : undefined;
}

export const logoutUriRule: Rule = (value) => {
  const url = parse(value);
  if (!url || !isWeb(url) || /[\s\\\p{Cc}]/u.test(value)) {
    return 'must be the address at which it takes logout tokens, such as https://app.example.com/backchannel-logout';
  }
  if (value.includes('#')) return 'must not have a fragment (OpenID Connect Back-Channel Logout 1.0 §2.2)';
  if (url.username || url.password) return 'must not carry a user name or password';
  return transportProblem(url);
};

export const homeRule: Rule = (value) => {
  const url = parse(value);
  if (!url || !isWeb(url) || /[\s\\\p{Cc}\p{Cs}]/u.test(value)) {
    return 'must be the address at which people find it, such as https://app.example.com/';
  }
  if (url.username || url.password) return 'must not carry a user name or password';
  return transportProblem(url);
};

export const originRule: Rule = (value) => {
  const url = parse(value);
  // Not only the web's: what runs in a shell has an origin of its own scheme, such as capacitor://localhost.
  const hasHost = /^[a-z][a-z\d+.-]*:\/\/[^/?#]+/i.test(value) && !/[\s\\\p{Cc}]/u.test(value);
  if (!url || !hasHost || foreignSchemes.has(url.protocol.slice(0, -1))) {
    return 'must be an origin, such as https://app.example.com';
  }
  if (value.includes('*')) return 'must not contain a wildcard; list every origin';
  if (url.username || url.password) return 'must not carry a user name or password';
  const isBare = ['', '/'].includes(url.pathname) && !/[?#]/.test(value);
  if (!isBare) return `must be the bare origin, written as ${serialisedOrigin(value)}`;
  return isWeb(url) ? transportProblem(url) : undefined;
};

/** As browsers send it: lower case, no default port, nothing behind (RFC 6454 §6.2). */
export function serialisedOrigin(value: string): string {
  const url = new URL(value);
  return isWeb(url) ? url.origin : `${url.protocol}//${url.host.toLowerCase()}`;
}

/** Begins the names by which a request asks for an audience that is no URI (clients/apis.ts). */
export const audienceNames = 'urn:signet:audience:';

/** StringOrURI (RFC 7519 §2): any text, but with a colon in it only a URI. */
export const audienceRule: Rule = (value) => {
  if (value === '' || value !== value.trim() || /[\p{Cc}\p{Cs}]/u.test(value)) {
    return 'must be a name such as rabbitmq, or a URI such as https://orders.example.com';
  }
  if (value.startsWith(audienceNames))
    return `must not begin with ${audienceNames}: those are names of other audiences`;
  if (!value.includes(':')) return undefined;
  const isUri = /^[a-z][a-z\d+.-]*:[^\s"<>\\^`{|}]+$/i.test(value) && parse(value) !== undefined;
  return isUri ? undefined : 'has a colon and so must be a URI, such as https://orders.example.com (RFC 7519 §2)';
};
