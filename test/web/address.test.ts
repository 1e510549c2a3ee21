import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from 'vitest';
import { addressPrefix, clientAddress } from '../../src/web/address.ts';

describe('the address a request counts for', () => {
  const proxies = ['10.0.0.0/8', '192.0.2.7', '2001:db8:1::/48'];
  test.each([
    ['nobody in between', '203.0.113.9', undefined, '203.0.113.9'],
    ['a stranger who claims another address', '203.0.113.9', '198.51.100.1', '203.0.113.9'],
    ['a trusted proxy', '10.1.2.3', '203.0.113.9', '203.0.113.9'],
    ['a client that prepends lies', '10.1.2.3', '1.1.1.1, 127.0.0.1, 203.0.113.9', '203.0.113.9'],
    ['a chain of trusted proxies', '10.1.2.3', '203.0.113.9, 192.0.2.7,10.9.9.9', '203.0.113.9'],
    ['a proxy of somebody else in the chain', '10.1.2.3', '1.1.1.1, 192.0.2.8', '192.0.2.8'],
    ['a request that began inside', '10.1.2.3', '10.5.5.5', '10.5.5.5'],
    ['a trusted proxy that says nothing', '10.1.2.3', undefined, '10.1.2.3'],
    ['a trusted proxy that says nonsense', '10.1.2.3', '203.0.113.9, <script>', '10.1.2.3'],
    ['an empty element', '10.1.2.3', '203.0.113.9,', '10.1.2.3'],
    ['IPv4 on a dual-stack socket', '::ffff:10.1.2.3', '::ffff:203.0.113.9', '203.0.113.9'],
    ['the same in hexadecimal', '::ffff:0a01:0203', '203.0.113.9', '203.0.113.9'],
    ['IPv6', '2001:db8:1::5', '2001:DB8:9:0:0:0:0:1', '2001:db8:9::1'],
    ['ports, as some proxies add', '10.1.2.3', '203.0.113.9:4711', '203.0.113.9'],
    ['IPv6 in brackets', '10.1.2.3', '[2001:db8:9::1]:4711', '2001:db8:9::1'],
    ['a zone', 'fe80::1%eth0', undefined, 'fe80::1'],
    ['a socket that is gone', undefined, undefined, 'unknown'],
  ])('%s', (_name, peer, forwarded, expected) => {
    const req = { socket: { remoteAddress: peer }, headers: { ...(forwarded && { 'x-forwarded-for': forwarded }) } };
    expect(clientAddress(req as IncomingMessage, proxies)).toBe(expected);
  });

  test('is the peer when no proxy is trusted, whatever is claimed', () => {
    const req = { socket: { remoteAddress: '10.1.2.3' }, headers: { 'x-forwarded-for': '203.0.113.9' } };
    expect(clientAddress(req as unknown as IncomingMessage, [])).toBe('10.1.2.3');
  });

  test.each(['10.0.0.0/33', 'localhost', '', '10.0.0.0/x'])('a proxy written as %j is refused', (entry) => {
    const req = { socket: { remoteAddress: '10.1.2.3' }, headers: {} };
    const refusal = expect.objectContaining({ code: 'invalid_proxy' });
    expect(() => clientAddress(req as IncomingMessage, [entry])).toThrow(refusal);
  });

  test.each([
    ['203.0.113.9', '203.0.113.9'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['unknown', 'unknown'],
  ])('%s is counted by %s', (address, prefix) => {
    expect(addressPrefix(address)).toBe(prefix);
  });
});
