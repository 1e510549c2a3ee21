// A browser without pages that keeps cookies as browsers do, says with Fetch Metadata where a request comes from, and
// remembers every answer. node:http, since fetch writes Sec-Fetch-Mode itself.

import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { noteSecret } from '../support/secrets.ts';
import { person } from '../support/signet.ts';

export interface Answer {
  url: string;
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

export interface Call {
  method?: string;
  headers?: Record<string, string | undefined>;
  body?: string;
}

/** The name of a cookie of the application at `url`: its port tells it from others on the machine. */
export const cookieOf = (url: string, rest = '') => `bff-${new URL(url).port}${rest}`;

/** Whether a name is that of a session's tokens, or of a sign-in under way. */
export const isOf = (kind: 's' | 'a', name: string) => new RegExp(`^bff-\\d+-${kind}-`).test(name);

export class Browser {
  /** Name to value; ports share them. */
  readonly cookies = new Map<string, string>();
  readonly answers: Answer[] = [];
  /** Requests to the first origin go to the second instead: another process of the same application. */
  readonly routes = new Map<string, string>();

  /** What a script of the application's own page asks, with the header that the bff wants. */
  call(url: string, { method = 'GET', headers = {}, body }: Call = {}): Promise<Answer> {
    const metadata = { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' };
    const own = { ...metadata, 'x-signet-csrf': '1' };
    return this.send(url, { method, headers: { accept: 'application/json', ...own, ...headers }, body });
  }

  /** A page load, redirects followed. */
  async visit(
    url: string,
    { site = 'none', form }: { site?: string; form?: Record<string, string> } = {},
  ): Promise<Answer> {
    let asked = url;
    let body = form && new URLSearchParams(form).toString();
    for (let hops = 0; hops < 12; hops += 1) {
      const answer = await this.send(asked, {
        method: body === undefined ? 'GET' : 'POST',
        body,
        headers: {
          accept: 'text/html,*/*',
          'sec-fetch-site': site,
          'sec-fetch-mode': 'navigate',
          'sec-fetch-dest': 'document',
          ...(body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
        },
      });
      if (answer.headers.location === undefined) return answer;
      asked = new URL(answer.headers.location, answer.url).href;
      body = undefined;
      site = 'cross-site';
    }
    throw new Error(`too many redirects from ${url}`);
  }

  /** Submits the form of a page of the issuer. */
  submit(page: Answer, fields: Record<string, string>): Promise<Answer> {
    const form = /<form[^>]*action="([^"]*)"[^>]*>(.*?)<\/form>/s.exec(page.body);
    if (!form) throw new Error(`no form on ${page.url}: ${page.status} ${page.body.slice(0, 300)}`);
    const hidden = [...form[2]!.matchAll(/<input[^>]*type="hidden"[^>]*>/g)].map(([input]) => [
      /name="([^"]*)"/.exec(input)![1]!,
      /value="([^"]*)"/.exec(input)?.[1] ?? '',
    ]);
    const all = { ...Object.fromEntries(hidden), ...fields };
    return this.visit(new URL(form[1]!, page.url).href, { site: 'same-origin', form: all });
  }

  /** From `url`, which leads to the sign-in page, to wherever the sign-in ends. */
  async signIn(url: string, who = person): Promise<Answer> {
    const page = await this.visit(url);
    if (!page.body.includes('name="password"')) return page;
    return this.submit(page, { email: who.email, password: who.password });
  }

  send(url: string, { method = 'GET', headers = {}, body }: Call): Promise<Answer> {
    const at = new URL(url);
    const connect = new URL(this.routes.get(at.origin) ?? at.origin);
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const sent = Object.entries({ host: at.host, ...(cookie === '' ? {} : { cookie }), ...headers }).filter(
      (pair): pair is [string, string] => pair[1] !== undefined,
    );
    return new Promise((resolve, reject) => {
      const request = httpRequest(
        {
          hostname: connect.hostname,
          port: connect.port,
          method,
          path: url.slice(at.origin.length) || '/',
          headers: Object.fromEntries(sent),
          agent: false,
        },
        (response) => {
          const chunks: Buffer[] = [];
          this.keep(response.headers['set-cookie'] ?? []);
          response
            .on('error', reject)
            .on('data', (chunk: Buffer) => chunks.push(chunk))
            .on('end', () => {
              const { statusCode = 0, headers: received } = response;
              const answer = { url, status: statusCode, headers: received, body: Buffer.concat(chunks).toString() };
              this.answers.push(answer);
              resolve(answer);
            });
        },
      );
      request.on('error', reject).end(body);
    });
  }

  keep(setCookie: readonly string[]): void {
    for (const line of setCookie) this.#keepOne(line);
  }

  #keepOne(line: string): void {
    const [pair = '', ...attributes] = line.split(';');
    const at = pair.indexOf('=');
    const [name, value] = [pair.slice(0, at), pair.slice(at + 1)];
    // RFC 6265 §6.1: what is larger, a browser drops in silence.
    if (line.length > 4096) return;
    noteSecret('cookie', value);
    if (attributes.some((attribute) => /expires=thu, 01 jan 1970/i.test(attribute))) this.cookies.delete(name);
    else this.cookies.set(name, value);
  }
}

export const json = (answer: Answer): any => JSON.parse(answer.body);
