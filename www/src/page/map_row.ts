/** A node of the map as a row of its table, with what can be done there. */

import { grouped, made } from "./element.ts";
import type { MapNode } from "./map.ts";

/** What can be done at a node, as far as it can. */
export interface Acts {
  readonly add?: () => void;
  readonly link?: (isCut: boolean) => void;
}

export class NodeRow {
  readonly row = made("tr", "");
  readonly #node: MapNode;
  readonly #value = made("td", "number");
  readonly #lag = made("td", "number");
  readonly #pending = made("td", "number");
  readonly #link = made("td", "links");
  readonly #state = made("span", "state");
  readonly #switch: HTMLInputElement | undefined;

  constructor(node: MapNode, { add, link }: Acts) {
    this.#node = node;
    const name = made("th", "", node.name);
    name.scope = "row";
    this.#link.append(this.#state);
    if (link) {
      const to = node.kind === "leaf" ? "its edge" : "the origin";
      this.#switch = switched(this.#link, `Link of ${node.name} to ${to}`, (isOn) => {
        node.isCut = !isOn;
        link(!isOn);
      });
    }
    const act = made("td", "");
    if (add) {
      const button = made("button", "secondary", "+1");
      button.type = "button";
      button.setAttribute("aria-label", `Add 1 at ${node.name}`);
      button.addEventListener("click", add);
      act.append(button);
    }
    this.row.append(name, this.#value, act, this.#link, this.#lag, this.#pending);
  }

  /** Shows the node; `sum` is what the counter comes to once all know of all. */
  show(sum: number): void {
    const { value, lagMs, pending, isUp, isCut } = this.#node;
    const behind = value === undefined ? 0 : sum - value;
    this.#value.textContent = grouped(value);
    this.#lag.textContent = behind > 0 ? `${behind} behind` : lagMs === undefined ? "–" : `${grouped(lagMs)} ms`;
    this.#pending.textContent = grouped(pending);
    this.#state.textContent = isUp === undefined ? "–" : isUp ? "up" : isCut ? "cut" : "down";
    if (this.#switch) this.#switch.checked = !isCut;
  }
}

/** A switch within a cell. */
function switched(cell: HTMLElement, name: string, turned: (isOn: boolean) => void): HTMLInputElement {
  const label = made("label", "switch small");
  const input = made("input", "");
  input.type = "checkbox";
  input.setAttribute("role", "switch");
  input.setAttribute("aria-label", name);
  input.checked = true;
  input.addEventListener("change", () => turned(input.checked));
  const track = made("span", "track up");
  track.setAttribute("aria-hidden", "true");
  label.append(input, track);
  cell.append(label);
  return input;
}
