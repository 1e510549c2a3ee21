// The code blocks of the documentation, as a service's developer pastes them: each a module of its own, in a project
// that has what the page says one has.

import { readdirSync, readFileSync } from 'node:fs';

export interface Block {
  /** `docs/services.md:11`: where its first line is. */
  where: string;
  code: string;
}

/** Every block of TypeScript or JavaScript in README.md, docs/ and the READMEs of the packages. */
export function documentedCode(root: string): Block[] {
  const pages = [
    'README.md',
    ...['verifier', 'bff', 'testing'].map((name) => `src/${name}/README.md`),
    ...readdirSync(`${root}/docs`)
      .filter((name) => name.endsWith('.md'))
      .map((name) => `docs/${name}`),
  ];
  return pages.flatMap((page) => {
    const text = readFileSync(`${root}/${page}`, 'utf8');
    return [...text.matchAll(/^```(?:ts|typescript|js|javascript)\n(.*?)^```$/gms)].map(({ 1: code, index }) => ({
      where: `${page}:${text.slice(0, index).split('\n').length + 1}`,
      code: code!,
    }));
  });
}

// What a block takes for granted: the reader's own, by name.
const granted: Record<string, string> = {
  jwt: 'declare const jwt: string;',
  request: "declare const request: import('node:http').IncomingMessage;",
  verifier: "declare const verifier: import('@signet-idp/verifier').Verifier;",
  bff: "declare const bff: import('@signet-idp/bff').Bff;",
  router: "declare const router: import('@koa/router').Router;",
  ordersOf: 'declare function ordersOf(sub: string): string[];',
  startService: 'declare function startService(options: { issuer: string }): Promise<{ url: string }>;',
  endSessions: 'declare function endSessions(of: { sid?: unknown; sub?: unknown }): Promise<void>;',
  issuer: 'declare const issuer: string;',
  audience: 'declare const audience: string;',
  createServer: "import { createServer } from 'node:http';",
  express: "import express from 'express';",
  requireToken: "import { requireToken } from '@signet-idp/verifier/express';",
  createVerifier: "import { createVerifier } from '@signet-idp/verifier';",
};

const applications = {
  koa: "declare const app: import('koa');",
  express: "declare const app: import('express').Express;",
  fastify: "declare const app: import('fastify').FastifyInstance;",
};

/** A whole module: the block, and declarations of what it uses and does not make. */
export function asModule({ code }: Block): string {
  const uses = (name: string) => new RegExp(`(?<![\\w.'/-])${name}(?![\\w'/-]|:)`).test(code);
  const makes = (name: string) =>
    new RegExp(`(?:const|let|function) (?:\\{[^}]*\\b)?${name}\\b|import [^;]*\\b${name}\\b[^;]* from`).test(code);
  const framework = (['koa', 'fastify'] as const).find((name) => code.includes(`/${name}'`)) ?? 'express';
  const declarations = Object.entries({ ...granted, app: applications[framework] })
    .filter(([name]) => uses(name) && !makes(name))
    .map(([, declaration]) => declaration);
  return [...declarations, code, 'export {};', ''].join('\n');
}
