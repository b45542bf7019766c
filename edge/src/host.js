// What takes one call across the border of the module here, and would take a dozen from the other side.

// Of the headers in the answers, those that scripts of other sites may read.
const EXPOSED = "Headwater-Durability, Headwater-Provisional, Headwater-Staleness, RateLimit, RateLimit-Policy, Retry-After, Upstash-Sync-Token";

export function exposed() {
  return EXPOSED;
}

// JSON; `body` is copied, `lines` are further headers, the name of each and its value on a line of their own.
export function reply(status, body, lines) {
  const headers = { "content-type": "application/json", "access-control-allow-origin": "*", "access-control-expose-headers": EXPOSED };
  if (lines !== "") {
    const words = lines.split("\n");
    for (let at = 0; at + 1 < words.length; at += 2) headers[words[at]] = words[at + 1];
  }
  return new Response(body.slice(), { status, headers });
}

// What a hub answers to a call (`hub/call.rs`): status, body, and the lines of further headers.
export async function ask(env, name, locationHint, kind, body) {
  const hub = locationHint === undefined ? env.HUB.getByName(name) : env.HUB.getByName(name, { locationHint });
  // A copy, for `body` is a view of all the module's memory, which would be sent whole.
  return await hub.ask(kind, body.slice());
}
