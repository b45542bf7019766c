/** The console: a prompt for each edge side by side, and one for all of them. */

import type { EdgeClient } from "./edge.ts";
import { element, made } from "./element.ts";
import { Log } from "./log.ts";
import { split } from "./words.ts";

/** How many lines a prompt remembers. */
const HISTORY_MAX = 100;

export function showConsole(edges: readonly EdgeClient[]): void {
  const panes = edges.map((edge, index) => new Pane(edge, `pane-${index}`));
  element("panes", HTMLElement).replaceChildren(...panes.map(({ box }) => box));
  const form = element("everywhere", HTMLFormElement);
  prompt(form, (line) => panes.forEach((pane) => pane.run(line)));
}

/** One edge: its log, and its prompt below. */
class Pane {
  readonly box = made("section", "card pane");
  readonly #edge: EdgeClient;
  readonly #log: Log;

  constructor(edge: EdgeClient, id: string) {
    this.#edge = edge;
    const title = made("h2", "", edge.name);
    title.id = id;
    this.box.setAttribute("aria-labelledby", title.id);
    const log = made("div", "log");
    log.setAttribute("role", "log");
    log.setAttribute("aria-label", `Replies of ${edge.name}`);
    log.tabIndex = 0;
    this.#log = new Log(log);
    this.box.append(title, log, this.#form(`${id}-line`));
  }

  /** Runs a line at this edge. */
  run(line: string): void {
    const answered = this.#log.ran(this.#edge.name, line);
    const words = split(line);
    if (words === undefined) answered({ error: "Invalid argument(s)" });
    else if (words.length > 0) void this.#edge.run(words).then(answered);
  }

  #form(id: string): HTMLFormElement {
    const form = made("form", "prompt");
    const label = made("label", "visually-hidden", `Command at ${this.#edge.name}`);
    const input = made("input", "");
    input.id = id;
    input.name = "line";
    input.required = true;
    input.spellcheck = false;
    input.autocomplete = "off";
    input.setAttribute("autocapitalize", "off");
    label.htmlFor = input.id;
    const button = made("button", "primary", "Run");
    button.setAttribute("aria-label", `Run at ${this.#edge.name}`);
    form.append(label, input, button);
    prompt(form, (line) => this.run(line));
    return form;
  }
}

/** Calls back with each line that the form's input is given; up and down go through the lines before. */
function prompt(form: HTMLFormElement, ran: (line: string) => void): void {
  const input = form.querySelector("input");
  if (!input) return;
  const lines: string[] = [];
  // Beyond the last line is what is being written.
  let at = 0;
  let draft = "";
  const show = (to: number) => {
    if (to < 0 || to > lines.length) return;
    if (at === lines.length) draft = input.value;
    at = to;
    input.value = lines[at] ?? draft;
    input.setSelectionRange(input.value.length, input.value.length);
  };
  input.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    event.preventDefault();
    show(event.key === "ArrowUp" ? at - 1 : at + 1);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const line = input.value.trim();
    if (line === "") return;
    if (lines.at(-1) !== line) lines.push(line);
    if (lines.length > HISTORY_MAX) lines.shift();
    at = lines.length;
    input.value = draft = "";
    ran(line);
  });
}
