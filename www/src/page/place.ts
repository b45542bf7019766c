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
}

/** Without `edges`, the edge is whoever served the page. */
export function placeOf(address: URL): Place {
  const own: Edge = { name: address.host, url: address.origin };
  const [first = own, ...others] = (address.searchParams.get("edges") ?? "").split(",").flatMap(edgeOf);
  return { edges: [first, ...others], token: address.searchParams.get("token") ?? "" };
}

/** `name=url`; nothing where it is not that. */
function edgeOf(text: string): Edge[] {
  const [name = "", ...rest] = text.split("=");
  const url = rest.join("=");
  if (name === "" || !URL.canParse(url) || !/^https?:/.test(url)) return [];
  return [{ name, url: new URL(url).origin }];
}
