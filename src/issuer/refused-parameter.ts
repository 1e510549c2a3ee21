// The refused parameter of a request (RFC 6749 §4.1.2.1), as it goes into the audit trail: the value, so that whoever
// is quoted a reference sees what to correct. Never what could be a credential.

/** Parameters that say what an application wants, by the word of our own for each. Codes, tokens and hints are none. */
const facts: Readonly<Record<string, string>> = {
  client_id: 'askedClientId',
  redirect_uri: 'redirectUri',
  post_logout_redirect_uri: 'postLogoutRedirectUri',
  scope: 'scope',
  resource: 'audience',
  response_type: 'responseType',
  response_mode: 'responseMode',
  prompt: 'prompt',
  max_age: 'maxAge',
  code_challenge_method: 'challengeMethod',
  grant_type: 'grantType',
  acr_values: 'acrValues',
  display: 'display',
};

/** By oidc-provider's error where its description does not name the parameter (lib/helpers/errors.js). */
const byError: Readonly<Record<string, string>> = {
  invalid_redirect_uri: 'redirect_uri',
  invalid_client: 'client_id',
  invalid_scope: 'scope',
  invalid_target: 'resource',
  unsupported_response_type: 'response_type',
  unsupported_response_mode: 'response_mode',
  unsupported_grant_type: 'grant_type',
};

const longest = 200;

export interface RefusedRequest {
  error: string;
  description?: string | undefined;
  parameters: Readonly<Record<string, unknown>>;
}

/** The refused parameter's value, by name: cut, and with every character that a screen would obey written out. */
export function refusedParameter({ error, description = '', parameters }: RefusedRequest): Record<string, string> {
  const words = description.match(/[a-z_]+/g) ?? [];
  const named = words.find((word) => Object.hasOwn(facts, word) && parameters[word] !== undefined);
  const parameter = named ?? byError[error];
  const value = parameter === undefined ? undefined : parameters[parameter];
  if (value === undefined || value === null) return {};
  return { [facts[parameter!]!]: legible([value].flat().join(' ')) };
}

function legible(text: string): string {
  const cut = [...text].slice(0, longest).join('');
  return withoutTokens(cut).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, written) + (cut.length < text.length ? '…' : '');
}

const written = (character: string) => `\\u{${character.codePointAt(0)!.toString(16)}}`;

// An address may carry what it should not: a JWT, a password before the host, a code or token in its query.
function withoutTokens(text: string): string {
  return text
    .replace(/\beyJ[\w-]{8,}[\w.-]*/g, 'eyJ…')
    .replace(/(\/\/)[^/?#@]*@/, '$1…@')
    .replace(/([?&#;][^=&#;]*(?:token|code|secret|password|key|session|sig)[^=&#;]*=)[^&#;]*/gi, '$1…');
}
