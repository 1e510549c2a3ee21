// The Cookie header (RFC 6265 §4.2.1), as name and value in the order they were sent. Several headers are one list:
// node joins them with "; ".

export function readCookies(header: string | readonly string[] | undefined): [name: string, value: string][] {
  const text = typeof header === 'string' ? header : (header ?? []).join('; ');
  return text.split(';').flatMap((pair): [string, string][] => {
    const at = pair.indexOf('=');
    return at === -1 ? [] : [[pair.slice(0, at).trim(), pair.slice(at + 1).trim()]];
  });
}
