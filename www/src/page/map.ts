/**
 * The map: one counter in a leaf at each edge, at each edge, and at the origin, with the links between them.
 *
 * The leaves are this tab's, a store for each edge, so their links are its own to cut. Those between the edges and the origin
 * the demo cuts, where this is the demo. Edges and origin are asked a few times a second; a leaf tells by itself.
 */

import { open, type Store } from "../index.ts";
import { EdgeClient } from "./edge.ts";
import { element } from "./element.ts";
import { Links } from "./links.ts";
import { Figure } from "./map_figure.ts";
import { NodeRow } from "./map_row.ts";
import type { Edge, Place } from "./place.ts";
import type { Page } from "./views.ts";

/** Between two looks at the edges and the origin. */
const LOOK_MS = 400;
/** The counter is gone a day after the page made it. */
const TTL_S = 86_400;

/** A node as it is shown. */
export interface MapNode {
  /** What it is, in a word or two. */
  readonly name: string;
  /** The edge of its column; none for the origin. */
  readonly edge: string | undefined;
  /** `leaf`, `edge` or `origin`. */
  readonly kind: "leaf" | "edge" | "origin";
  /** The counter there; nothing where it is not known. */
  value: number | undefined;
  /** How long it took to show the last addition; nothing where that is not measured. */
  lagMs: number | undefined;
  /** Operations that the next node has not; nothing where it does not say. */
  pending: number | undefined;
  /** Whether the link to the next node is up; nothing where it has none, or it is not known. */
  isUp: boolean | undefined;
  /** Whether that link is cut, which is why it is down, or soon will be. */
  isCut: boolean;
}

export class NodeMap implements Page {
  readonly #links: Links | undefined;
  readonly #key = `map:${crypto.randomUUID()}`;
  readonly #columns: readonly Column[];
  readonly #origin: MapNode = node("Origin", undefined, "origin");
  readonly #figure: Figure;
  readonly #rows: readonly NodeRow[];
  readonly #status = element("map-status", HTMLElement);
  /** How much the page has added in all, and when it came to that. */
  readonly #sums: { sum: number; at: number }[] = [];
  #sum = 0;
  /** The last sum that each leaf was seen to show. */
  readonly #reached = new Map<MapNode, number>();
  #looking: ReturnType<typeof setInterval> | undefined;
  #isOpened = false;
  #isDrawing = false;

  constructor(place: Place) {
    this.#links = place.links === undefined ? undefined : new Links(place.links, place.token);
    this.#columns = place.edges.map((edge) => new Column(edge, place.token));
    this.#figure = new Figure(place.edges.map(({ name }) => name));
    this.#rows = [
      ...this.#columns.map(
        (column) =>
          new NodeRow(column.leaf, {
            add: () => void this.#add(() => column.addAtLeaf(this.#key)),
            link: (isCut) => (isCut ? column.store?.cut() : column.store?.restore()),
          }),
      ),
      ...this.#columns.map(
        (column) =>
          new NodeRow(column.hub, {
            add: () => void this.#add(() => column.addAtHub(this.#key)),
            ...(this.#links && { link: (isCut: boolean) => void this.#links?.set(column.client.name, !isCut) }),
          }),
      ),
      new NodeRow(this.#origin, {}),
    ];
    element("map-nodes", HTMLElement).replaceChildren(...this.#rows.map(({ row }) => row));
    element("map-remark", HTMLElement).textContent = this.#links
      ? "The links of the edges are those of the daemon, which the demo cuts for real. What the origin has, a plain client reads there."
      : "The links of the edges are the daemon’s, and a page cannot cut them; cargo xtask demo lets it.";
    this.#draw();
  }

  shown(): void {
    this.#looking = setInterval(() => void this.#look(), LOOK_MS);
    void this.#readLinks();
    if (!this.#isOpened) void this.#open();
    this.#isOpened = true;
  }

  hidden(): void {
    clearInterval(this.#looking);
  }

  /** Makes the counter, and opens the leaves. */
  async #open(): Promise<void> {
    const [first] = this.#columns;
    await first?.client.transaction([
      ["INCRBY", this.#key, "0"],
      ["EXPIRE", this.#key, String(TTL_S)],
    ]);
    await Promise.all(
      this.#columns.map(async (column) => {
        await column.open(this.#key, () => this.#drawSoon());
      }),
    );
    await this.#look();
  }

  /** Counts what is added, if it is. */
  async #add(increment: () => boolean | Promise<boolean>): Promise<void> {
    const at = performance.now();
    if (!(await increment())) return;
    this.#sum += 1;
    this.#sums.push({ sum: this.#sum, at });
    this.#drawSoon();
  }

  async #look(): Promise<void> {
    const value = this.#links?.value(this.#key);
    await Promise.all(this.#columns.map((column) => column.look(this.#key)));
    const found = await value;
    this.#origin.value = found == null ? undefined : Number(found);
    this.#draw();
  }

  /** Another tab may have cut them. What is read later than the visitor turns a switch would turn it back. */
  async #readLinks(): Promise<void> {
    const states = await this.#links?.states();
    for (const { hub, client } of this.#columns) hub.isCut = states?.[client.name] === false;
  }

  #drawSoon(): void {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    queueMicrotask(() => {
      this.#isDrawing = false;
      this.#draw();
    });
  }

  #draw(): void {
    const leaves = this.#columns.map(({ leaf }) => leaf);
    for (const leaf of leaves) this.#measure(leaf);
    const nodes = [...leaves, ...this.#columns.map(({ hub }) => hub), this.#origin];
    this.#figure.show(nodes);
    for (const row of this.#rows) row.show(this.#sum);
    const known = nodes.filter(({ value }) => value !== undefined);
    const areEqual = known.every(({ value }) => value === this.#sum);
    const told = known.length === 0 ? "Nothing is known yet." : areEqual ? "All nodes have everything." : "Some nodes have not heard of everything.";
    if (this.#status.textContent !== told) this.#status.textContent = told;
  }

  /** How long a leaf took to the latest sum that it shows. */
  #measure(leaf: MapNode): void {
    const { value = 0 } = leaf;
    const reached = this.#sums.findLast(({ sum }) => sum <= value);
    if (!reached || this.#reached.get(leaf) === reached.sum) return;
    this.#reached.set(leaf, reached.sum);
    leaf.lagMs = Math.round(performance.now() - reached.at);
  }
}

/** One edge with the leaf of this tab at it. */
class Column {
  readonly client: EdgeClient;
  readonly leaf: MapNode;
  readonly hub: MapNode;
  readonly #edge: Edge;
  readonly #token: string;
  store: Store | undefined;

  constructor(edge: Edge, token: string) {
    this.#edge = edge;
    this.#token = token;
    this.client = new EdgeClient(edge, token);
    this.leaf = node(`Leaf at ${edge.name}`, edge.name, "leaf");
    this.hub = node(`Edge ${edge.name}`, edge.name, "edge");
  }

  /** Opens the leaf, which keeps nothing beyond this page. */
  async open(key: string, changed: () => void): Promise<void> {
    const store = await open({ url: this.#edge.url, token: this.#token, storage: false });
    this.store = store;
    const read = () => {
      const { pending, isCut, phase } = store.status;
      this.leaf.value = store.counter(key).value;
      this.leaf.pending = pending;
      this.leaf.isUp = !isCut && phase !== "offline";
      this.leaf.isCut = isCut;
      changed();
    };
    store.subscribe([key], read);
    store.addEventListener("status", read);
  }

  /** Whether the leaf was there to add 1. */
  addAtLeaf(key: string): boolean {
    this.store?.counter(key).increment();
    return this.store !== undefined;
  }

  /** Whether the edge has added 1. */
  async addAtHub(key: string): Promise<boolean> {
    const { error } = await this.client.run(["INCR", key]);
    return error === undefined;
  }

  /** Asks the edge. */
  async look(key: string): Promise<void> {
    const [answer, status] = await Promise.all([this.client.run(["GET", key]), this.client.status()]);
    this.hub.value = answer.error === undefined ? Number(answer.result ?? 0) : undefined;
    this.hub.pending = status?.pending;
    this.hub.isUp = status?.origin_connected;
  }
}

function node(name: string, edge: string | undefined, kind: MapNode["kind"]): MapNode {
  return { name, edge, kind, value: undefined, lagMs: undefined, pending: undefined, isUp: undefined, isCut: false };
}
