/** The site: live counters, a console, rate limits, sessions, and a map of what a cut network does. */

import "uplot/dist/uPlot.min.css";
import { open } from "./index.ts";
import { showConsole } from "./page/console.ts";
import { EdgeClient } from "./page/edge.ts";
import { element } from "./page/element.ts";
import { Playground } from "./page/limits.ts";
import { showLive } from "./page/live.ts";
import { NodeMap } from "./page/map.ts";
import { placeOf } from "./page/place.ts";
import { Sessions } from "./page/sessions.ts";
import { followPages } from "./page/views.ts";

/** Where a tab remembers its place, for the way back from the documentation. */
const PLACE = "headwater:place";

async function main(): Promise<void> {
  const address = remembered(new URL(location.href));
  // Another token must not cost the rest of the place.
  for (const name of ["edges", "links"]) {
    element(`access-${name}`, HTMLInputElement).value = address.searchParams.get(name) ?? "";
  }
  const place = placeOf(address);
  const edges = place.edges.map((edge) => new EdgeClient(edge, place.token));
  showConsole(edges);
  followPages({ limits: new Playground(edges), sessions: new Sessions(edges), map: new NodeMap(place) });
  showLive(await open({ url: place.edges[0].url, token: place.token }), place);
}

/** The address, or the place of this tab where the address names none. */
function remembered(address: URL): URL {
  try {
    if (address.searchParams.has("token")) sessionStorage.setItem(PLACE, address.search);
    else address.search = sessionStorage.getItem(PLACE) ?? "";
  } catch {
    // A browser may store nothing; then the way back from the documentation is the visitor's own.
  }
  return address;
}

main().catch((error: unknown) => {
  element("connection", HTMLElement).dataset.state = "denied";
  element("status", HTMLElement).textContent = "This page could not start.";
  element("detail", HTMLElement).textContent = String(error);
});
