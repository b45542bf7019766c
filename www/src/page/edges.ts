/** The choice of an edge. */

import type { Edge } from "./place.ts";
import { element } from "./element.ts";

/** Shows the edges, the first one chosen, and calls back when the visitor chooses another. */
export function showEdges(edges: readonly Edge[], chosen: (edge: Edge) => void): void {
  const choices = edges.map((edge, index) => {
    const input = document.createElement("input");
    input.type = "radio";
    input.name = "edge";
    input.checked = index === 0;
    input.addEventListener("change", () => chosen(edge));
    const label = document.createElement("label");
    label.append(input, edge.name);
    return label;
  });
  element("edges", HTMLDivElement).replaceChildren(...choices);
}
