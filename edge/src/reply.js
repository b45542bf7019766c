// One call across the border of the module where a header each would be a dozen.

const NAMES = "Headwater-Durability, Headwater-Provisional, Headwater-Staleness, RateLimit, RateLimit-Policy, Retry-After, Upstash-Sync-Token";

// JSON; `lines` are further headers, the name of each and its value on a line of their own.
export function reply(status, body, lines) {
  const headers = { "content-type": "application/json", "access-control-allow-origin": "*", "access-control-expose-headers": NAMES };
  if (lines !== "") {
    const words = lines.split("\n");
    for (let at = 0; at + 1 < words.length; at += 2) headers[words[at]] = words[at + 1];
  }
  return new Response(body, { status, headers });
}
