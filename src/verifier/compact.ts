// The compact serialization of a JWS (RFC 7515 §7.1), read more strictly than libraries do: one token has one spelling.
// Whoever keys a denylist, a cache or a log by the token's text can rely on that. Knows nothing of keys or claims.

import { isUtf8 } from 'node:buffer';
import { VerificationError } from './errors.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

export interface CompactJws {
  header: JsonObject;
  payload: Uint8Array;
  /** The bytes the signature is over. */
  signed: Uint8Array;
  signature: Uint8Array;
}

/** A JWS whose payload is a claims set. */
interface CompactToken extends Omit<CompactJws, 'payload'> {
  claims: JsonObject;
}

// Three non-empty segments: white space, padding, a JWE's five segments and the JSON serialization all fail here.
const threeSegments = /^[\w-]+\.[\w-]+\.[\w-]+$/;

const deepest = 16;

/** Header and claims are frozen all the way down. @throws {VerificationError} `malformed` */
export function readCompact(jwt: string, maxTokenBytes: number): CompactToken {
  const { header, payload, signed, signature } = readJws(jwt, maxTokenBytes);
  return { header, claims: readObject(payload), signed, signature };
}

/** The same, whatever the payload is. @throws {VerificationError} `malformed` */
export function readJws(jwt: string, maxTokenBytes: number): CompactJws {
  if (typeof jwt !== 'string') throw malformed('the token is not a string');
  if (jwt.length > maxTokenBytes) throw malformed('the token is too large');
  if (!threeSegments.test(jwt)) throw malformed('the token is not a compact JWS');
  const headerEnd = jwt.indexOf('.');
  const payloadEnd = jwt.lastIndexOf('.');
  return {
    header: readObject(decode(jwt.slice(0, headerEnd))),
    payload: decode(jwt.slice(headerEnd + 1, payloadEnd)),
    signed: Buffer.from(jwt.slice(0, payloadEnd), 'latin1'),
    signature: decode(jwt.slice(payloadEnd + 1)),
  };
}

/** Writes one. @param sign from the bytes to sign, as text, to the signature in base64url */
export function writeCompact(header: object, claims: object, sign: (text: string) => string): string {
  const text = `${encode(header)}.${encode(claims)}`;
  return `${text}.${sign(text)}`;
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

// The last character of a segment can carry bits that decoders drop, so several spellings decode to the same bytes.
// Only the canonical one is accepted. (RFC 4648 §3.5)
function decode(segment: string): Buffer {
  const bytes = Buffer.from(segment, 'base64url');
  if (bytes.toString('base64url') !== segment) throw malformed('the token is not canonical base64url');
  return bytes;
}

function readObject(bytes: Uint8Array): JsonObject {
  if (!isUtf8(bytes)) throw malformed('the token is not UTF-8');
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  const value = parse(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw notObjects();
  // JSON.parse keeps the last of two members with one name, other parsers the first: such a token says two things.
  // Outside strings, every colon belongs to one member, so a surplus of colons is a repeated name. (RFC 7519 §4)
  if (countMembers(value, 0) !== countColons(text)) throw malformed('the token repeats a member name');
  return value as JsonObject;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw notObjects(cause);
  }
}

// One walk does three things: it counts members, refuses numbers that a double cannot hold (a large id that was
// rounded is somebody else's id), and freezes, so that no handler changes what the next one reads.
function countMembers(value: unknown, depth: number): number {
  if (typeof value === 'number' && !(Math.abs(value) <= Number.MAX_SAFE_INTEGER)) {
    throw malformed('the token has a number that is not safe');
  }
  if (typeof value !== 'object' || value === null) return 0;
  if (depth > deepest) throw malformed('the token is nested too deeply');
  const children: unknown[] = Array.isArray(value) ? value : Object.values(value);
  let members = Array.isArray(value) ? 0 : children.length;
  for (const child of children) members += countMembers(child, depth + 1);
  Object.freeze(value);
  return members;
}

function countColons(json: string): number {
  const structure = json.replace(/"[^"\\]*(?:\\.[^"\\]*)*"/g, '');
  let colons = 0;
  for (let at = structure.indexOf(':'); at !== -1; at = structure.indexOf(':', at + 1)) colons++;
  return colons;
}

function notObjects(cause?: unknown): VerificationError {
  return malformed('the token is not made of JSON objects', cause);
}

function malformed(message: string, cause?: unknown): VerificationError {
  return new VerificationError('malformed', message, { cause });
}
