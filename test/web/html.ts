// Reads our own pages for the tests: elements with their attributes, in order. Stricter than a browser on purpose: a
// "<" that does not begin a well-formed tag (an unescaped value, an unquoted attribute) is an error and not text.

export interface Element {
  tag: string;
  attributes: Map<string, string>;
  /** Where the opening tag ends in the page. */
  end: number;
}

const tagPattern = /<(?:!doctype html|\/[a-z][a-z0-9]*|([a-z][a-z0-9]*)((?:\s+[a-zA-Z:-]+(?:="[^"<>]*")?)*)\s*\/?)>/y;

export function elementsOf(html: string): Element[] {
  const elements: Element[] = [];
  for (let at = html.indexOf('<'); at !== -1; at = html.indexOf('<', at + 1)) {
    tagPattern.lastIndex = at;
    const match = tagPattern.exec(html);
    if (!match) throw new Error(`not a tag: ${html.slice(at, at + 80)}`);
    const [whole, tag, attributes = ''] = match;
    if (tag === undefined) continue;
    elements.push({ tag, attributes: readAttributes(attributes), end: at + whole.length });
  }
  return elements;
}

/** The text of the first such element, markup inside it removed and entities resolved. */
export function textOf(html: string, tag: string): string {
  const inner = new RegExp(`<${tag}[^>]*>(.*?)</${tag}>`, 's').exec(html)?.[1] ?? '';
  return unescape(inner.replace(/<[^>]*>/g, '')).trim();
}

function readAttributes(text: string): Map<string, string> {
  return new Map(
    [...text.matchAll(/([a-zA-Z:-]+)(?:="([^"]*)")?/g)].map(([, name = '', value = '']) => [name, unescape(value)]),
  );
}

function unescape(text: string): string {
  const characters: Record<string, string> = { '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'", '&amp;': '&' };
  return text.replace(/&(?:lt|gt|quot|#39|amp);/g, (entity) => characters[entity] ?? entity);
}
