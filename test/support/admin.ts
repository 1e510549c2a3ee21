// A server whose administration may be called: applications with access to it, and requests as they are sent by a
// console or a script.

import { freePort } from './ports.ts';
import { checkAnswer, noteSecret } from './secrets.ts';
import { declared, secret, startSignet, type TestServer, type TestServerOptions } from './signet.ts';
import { signIn, tokenRequest, type UserAgent } from './user-agent.ts';

export interface AdminAnswer {
  status: number;
  headers: Headers;
  /** As it was sent. */
  text: string;
  body: Record<string, any>;
}

interface AdminRequest {
  token?: string;
  body?: unknown;
  headers?: Record<string, string>;
  method?: string;
}

export interface AdminServer extends TestServer {
  /** The audience of the admin API. */
  administration: string;
  /** An access token for the application "spa": of `person`, or of who is signed in with `agent`. */
  personToken(scope?: string, agent?: UserAgent): Promise<string>;
  /** An access token of a service: "operator" may read and write, "reader" may read, "service" may neither. */
  serviceToken(clientId: 'operator' | 'reader', scope?: string): Promise<string>;
  /** One request; a POST where there is a body. */
  call(path: string, options?: AdminRequest): Promise<AdminAnswer>;
  /** Every answer so far. */
  answers: AdminAnswer[];
  /** Moves the making of every prepared key a day into the past, so that it may sign. */
  ripen(): Promise<void>;
}

export async function startAdministration({ values = {}, ...options }: TestServerOptions = {}): Promise<AdminServer> {
  const port = await freePort();
  const issuer = `http://localhost:${port}`;
  const administration = `${issuer}/admin`;
  const everything = { [administration]: ['admin:read', 'admin:write'] };
  const applications = [
    ...declared.applications.map((app) =>
      app.clientId === 'spa' ? { ...app, access: { ...app.access, ...everything } } : app,
    ),
    { clientId: 'operator', name: 'Operator', type: 'service', secret, access: everything },
    { clientId: 'reader', name: 'Dashboard', type: 'service', secret, access: { [administration]: ['admin:read'] } },
  ];
  const server = await startSignet({
    ...options,
    values: { issuer, listen: { port, host: '127.0.0.1' }, applications, ...values },
  });
  const answers: AdminAnswer[] = [];

  return {
    ...server,
    administration,
    answers,

    async personToken(scope = 'openid admin:read admin:write', agent) {
      const { tokens } = await signIn(issuer, { agent, parameters: { scope, resource: administration } });
      return tokens.access_token;
    },

    async serviceToken(clientId, scope) {
      const parameters = { grant_type: 'client_credentials', resource: administration, ...(scope && { scope }) };
      const { status, body } = await tokenRequest(issuer, parameters, { clientId, secret });
      if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`);
      return body.access_token;
    },

    async call(path, { token, body, headers = {}, method = body === undefined ? 'GET' : 'POST' } = {}) {
      noteSecret('access token', token);
      const response = await fetch(`${issuer}/admin/api/v1${path}`, {
        method,
        headers: {
          ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
          ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
          ...headers,
        },
        body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
      });
      const text = await response.text();
      checkAnswer(path, response, text);
      const { status, headers: received } = response;
      const answer = { status, headers: received, text, body: text === '' ? {} : JSON.parse(text) };
      answers.push(answer);
      return answer;
    },

    async ripen() {
      await server.store.db.query(
        `update signing_keys set prepared_at = prepared_at - 90000000
         where activated_at is null and revoked_at is null`,
      );
    },
  };
}
