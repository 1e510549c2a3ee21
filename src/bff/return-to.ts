// Where to go after the sign-in. It comes from a link that anybody may have written, so it can only lead into this
// application: an open redirect would lend our name to somebody else's page. (RFC 9700 §4.11)

const longest = 512;

/** The path, query and fragment of `wanted` if that is a path of `baseUrl`; otherwise `/`. */
export function readReturnTo(wanted: string | null | undefined, baseUrl: string, ownPath: string): string {
  if (!wanted || wanted.length > longest) return '/';
  // Two readers may differ on backslashes, tabs and line breaks, which URL parsers drop or turn: none is needed.
  if (!/^\/(?![/\\])[^\\\x00-\x20\x7f]*$/.test(wanted)) return '/';
  const url = URL.parse(wanted, baseUrl);
  if (url?.origin !== new URL(baseUrl).origin) return '/';
  const path = url.pathname + url.search + url.hash;
  // "/.//other.example" becomes "//other.example" once the dot is resolved, which is another host.
  if (path.startsWith('//') || url.pathname === ownPath || url.pathname.startsWith(`${ownPath}/`)) return '/';
  return path;
}
