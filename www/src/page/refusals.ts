/** The operations that the edge refused, latest first. */

import type { RefusedEvent } from "../index.ts";
import { element, made } from "./element.ts";

/** Older ones are dropped. */
const SHOWN_MAX = 8;

/** Shows one more. */
export function showRefusal({ key, error }: RefusedEvent): void {
  const line = document.createElement("li");
  line.append(made("code", "", key), made("span", "", error));
  const list = element("refusals", HTMLUListElement);
  list.prepend(line);
  while (list.children.length > SHOWN_MAX) list.lastElementChild?.remove();
  element("refused", HTMLElement).hidden = false;
}
