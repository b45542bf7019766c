/** The map as a figure: leaves above, edges in the middle, the origin below, and a line for each link. */

import { element, grouped } from "./element.ts";
import type { MapNode } from "./map.ts";

const SVG = "http://www.w3.org/2000/svg";

/** In the units of the figure, which are pixels on a phone. */
const WIDTH = 340;
const HEIGHT = 300;
const BOX_HEIGHT = 58;
const GAP = 10;
const TOP_OF: Readonly<Record<MapNode["kind"], number>> = { leaf: 6, edge: 118, origin: 236 };

export class Figure {
  readonly #edges: readonly string[];
  readonly #words: SVGElement;
  readonly #links = new Map<string, SVGElement>();
  readonly #boxes = new Map<string, SVGElement>();

  constructor(edges: readonly string[]) {
    this.#edges = edges;
    const title = drawn("title", { id: "map-svg-title" }, "Leaves, edges and the origin");
    this.#words = drawn("desc", { id: "map-svg-words" });
    const figure = drawn("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-labelledby": "map-svg-title map-svg-words",
    });
    figure.append(title, this.#words, ...this.#drawnLinks(), ...this.#drawnBoxes());
    element("map-figure", HTMLElement).replaceChildren(figure);
  }

  /** Shows the nodes as they are. */
  show(nodes: readonly MapNode[]): void {
    for (const node of nodes) {
      const name = idOf(node);
      const [, value, pending] = this.#boxes.get(name)?.querySelectorAll("text") ?? [];
      if (value) value.textContent = grouped(node.value);
      if (pending) pending.textContent = node.pending ? `${grouped(node.pending)} pending` : "";
      this.#links.get(name)?.setAttribute("class", node.isUp === undefined ? "link" : node.isUp ? "link up" : "link down");
    }
    const words = nodes.map(sentence).join(" ");
    if (this.#words.textContent !== words) this.#words.textContent = words;
  }

  #drawnLinks(): SVGElement[] {
    const link = (kind: "leaf" | "edge", edge: string) => {
      const from = TOP_OF[kind] + BOX_HEIGHT;
      const [x, to] = [this.#middle(edge), TOP_OF[kind === "leaf" ? "edge" : "origin"]];
      const end = kind === "leaf" ? x : WIDTH / 2 + (x - WIDTH / 2) * 0.25;
      const group = drawn("g", { class: "link" });
      group.append(
        drawn("line", { x1: x, y1: from, x2: end, y2: to }),
        drawn("path", { class: "cross", d: "M-6-6 6 6M6-6-6 6", transform: `translate(${(x + end) / 2} ${(from + to) / 2})` }),
      );
      this.#links.set(`${kind} ${edge}`, group);
      return group;
    };
    return this.#edges.flatMap((edge) => [link("leaf", edge), link("edge", edge)]);
  }

  #drawnBoxes(): SVGElement[] {
    const width = (WIDTH - GAP * (this.#edges.length - 1) - 4) / this.#edges.length;
    const box = (id: string, kind: MapNode["kind"], middle: number, width: number, name: string) => {
      const top = TOP_OF[kind];
      const group = drawn("g", { class: `node ${kind}` });
      const line = (offset: number, role: string, text = "") => drawn("text", { x: middle, y: top + offset, class: role }, text);
      group.append(
        drawn("rect", { x: middle - width / 2, y: top, width, height: BOX_HEIGHT, rx: 10 }),
        line(16, "label", name),
        line(37, "value"),
        line(52, "pending"),
      );
      this.#boxes.set(id, group);
      return group;
    };
    return [
      ...this.#edges.flatMap((edge) => [
        box(`leaf ${edge}`, "leaf", this.#middle(edge), width, `leaf at ${edge}`),
        box(`edge ${edge}`, "edge", this.#middle(edge), width, `edge ${edge}`),
      ]),
      box("origin", "origin", WIDTH / 2, 150, "origin"),
    ];
  }

  #middle(edge: string): number {
    const column = (WIDTH - 4 + GAP) / this.#edges.length;
    return 2 + column * (this.#edges.indexOf(edge) + 0.5) - GAP / 2;
  }
}

function idOf({ kind, edge }: MapNode): string {
  return edge === undefined ? kind : `${kind} ${edge}`;
}

function sentence({ name, value, pending, isUp }: MapNode): string {
  const parts = [`${name}: ${value === undefined ? "not known" : grouped(value)}`];
  if (pending) parts.push(`${grouped(pending)} pending`);
  if (isUp !== undefined) parts.push(`link ${isUp ? "up" : "down"}`);
  return `${parts.join(", ")}.`;
}

function drawn(name: string, attributes: Readonly<Record<string, string | number>>, text = ""): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, String(value));
  if (text !== "") made.textContent = text;
  return made as SVGElement;
}
