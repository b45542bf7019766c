/** A choice among the edges within a form. */

import type { EdgeClient } from "./edge.ts";
import { element } from "./element.ts";

/** Offers the edges in the box of this id, one of them or several at once; gives what tells which are chosen. */
export function offerEdges(
  id: string,
  kind: "radio" | "checkbox",
  edges: readonly EdgeClient[],
): () => readonly EdgeClient[] {
  const inputs = edges.map((edge, index) => {
    const input = document.createElement("input");
    input.type = kind;
    input.name = `${id}-edge`;
    input.value = edge.name;
    input.checked = kind === "checkbox" || index === 0;
    return input;
  });
  const labels = inputs.map((input) => {
    const label = document.createElement("label");
    label.append(input, input.value);
    return label;
  });
  element(id, HTMLElement).replaceChildren(...labels);
  return () => edges.filter((_, index) => inputs[index]?.checked);
}
