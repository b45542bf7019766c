/** What the address bar says: `?edges=eu=https://eu.example,us=https://us.example&token=…`. */

/** An edge that the visitor may choose. */
export interface Edge {
  readonly name: string;
  readonly url: string;
}

/** Where to connect to, and as whom. */
export interface Place {
  /** At least one. */
  readonly edges: readonly [Edge, ...Edge[]];
  readonly token: string;
  /** Where the demo cuts the links between its edges and its daemon, if this is the demo. */
  readonly links: string | undefined;
}

/** Without `edges`, the edge is whoever served the page. */
export function placeOf(address: URL): Place {
  const own: Edge = { name: address.host, url: address.origin };
  const [first = own, ...others] = (address.searchParams.get("edges") ?? "").split(",").flatMap(edgeOf);
  const links = address.searchParams.get("links") ?? "";
  return {
    edges: [first, ...others],
    token: address.searchParams.get("token") ?? "",
    links: isHttp(links) ? new URL(links).origin : undefined,
  };
}

/** `name=url`; nothing where it is not that. */
function edgeOf(text: string): Edge[] {
  const [name = "", ...rest] = text.split("=");
  const url = rest.join("=");
  if (name === "" || !isHttp(url)) return [];
  return [{ name, url: new URL(url).origin }];
}

function isHttp(url: string): boolean {
  return URL.canParse(url) && /^https?:/.test(url);
}
