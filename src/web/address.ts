// The IP address that a request counts for, in one spelling, and the prefixes by which addresses are counted.

import type { IncomingMessage } from 'node:http';
import { BlockList, isIP, isIPv4 } from 'node:net';
import ipaddr from 'ipaddr.js';
import { AppError } from '../errors.ts';

const mostRemembered = 1_000;

/**
 * The address a request counts for. X-Forwarded-For is read from the right, where our own proxies write, and only as
 * far as they are trusted: everything further left is whatever the client liked to claim.
 * @param trustedProxies addresses and networks: "10.0.0.0/8", "::1"
 */
export function clientAddress(req: IncomingMessage, trustedProxies: readonly string[]): string {
  const peer = peerAddress(req.socket.remoteAddress ?? '') ?? 'unknown';
  if (trustedProxies.length === 0) return peer;

  const trusted = networksOnce(trustedProxies);
  const hops = [req.headers['x-forwarded-for'] ?? []].flat().join(',').split(',');
  let client = peer;
  while (isIP(client) !== 0 && trusted.check(client, isIPv4(client) ? 'ipv4' : 'ipv6')) {
    const hop = parseAddress(hops.pop()?.trim() ?? '');
    if (hop === undefined) break;
    client = hop;
  }
  return client;
}

/** What attempts are counted by: an IPv4 address whole, of IPv6 the /64, since one subscriber holds all of it. */
export function addressPrefix(address: string): string {
  return addressPrefixes(address).address;
}

interface AddressPrefixes {
  address: string;
  network?: string;
  block: string;
}

/**
 * Beside that, the /48: one site or customer may hold as much, and has 65,536 of the former (RFC 6177 §2). And the
 * block that a provider hands out from, about: of IPv4 the /16, of IPv6 the /32.
 */
export const addressPrefixes = rememberingAddresses(prefixesOf);

function prefixesOf(address: string): Readonly<AddressPrefixes> {
  if (isIPv4(address)) return { address, block: `${ipaddr.IPv4.parse(address).octets.slice(0, 2).join('.')}.0.0/16` };
  if (isIP(address) !== 6) return { address, block: address };
  const groups = ipaddr.IPv6.parse(address).parts.map((group) => group.toString(16));
  const prefix = (count: number) => `${groups.slice(0, count).join(':')}::/${count * 16}`;
  return { address: prefix(4), network: prefix(3), block: prefix(2) };
}

/** What strangers are told apart by: of IPv6 the /48, since one customer of a provider may hold all of it. */
export function networkOf(address: string): string {
  const { address: prefix, network = prefix } = addressPrefixes(address);
  return network;
}

/** Whether an address, as parseAddress spells it, is in one of these: "10.0.0.0/8", "::1". */
export function withinNetworks(entries: readonly string[]): (address: string) => boolean {
  const list = networks(entries);
  return (address) => isIP(address) !== 0 && list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}

function networks(entries: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) {
    const [address = '', bits] = entry.split('/');
    const family = isIPv4(address) ? 'ipv4' : 'ipv6';
    try {
      if (bits === undefined) list.addAddress(address, family);
      else list.addSubnet(address, Number(bits), family);
    } catch (cause) {
      throw new AppError('invalid_proxy', 500, `${entry} is not an address or a network such as 10.0.0.0/8`, { cause });
    }
  }
  return list;
}

// One list of a configuration is asked with every request.
const lists = new WeakMap<readonly string[], BlockList>();
function networksOnce(entries: readonly string[]): BlockList {
  let list = lists.get(entries);
  if (!list) lists.set(entries, (list = networks(entries)));
  return list;
}

/** The same function, which remembers what it said: of the same addresses, which come again and again. */
export function rememberingAddresses<T>(of: (address: string) => T): (address: string) => T {
  const said = new Map<string, T>();
  return (address) => {
    if (said.has(address)) return said.get(address)!;
    const value = of(address);
    if (said.size >= mostRemembered) said.clear();
    said.set(address, value);
    return value;
  };
}

// Proxies write "192.0.2.1", "192.0.2.1:4711", "2001:db8::1" or "[2001:db8::1]:4711"; a dual-stack socket says
// "::ffff:192.0.2.1". One address gets one spelling, or it would have several counters.
export function parseAddress(text: string): string | undefined {
  const bare = /^\[(.+)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
  const address = bare.split('%')[0] ?? '';
  return isIP(address) === 0 ? undefined : ipaddr.process(address).toString();
}

const peerAddress = rememberingAddresses(parseAddress);
