/** The line about the connection, and the switch that cuts it. */

import type { Status, Store } from "../index.ts";
import { element, grouped } from "./element.ts";

export class Connection {
  readonly #store: Store;
  readonly #edgeName: () => string;
  readonly #section = element("connection", HTMLElement);
  readonly #status = element("status", HTMLElement);
  readonly #detail = element("detail", HTMLElement);
  readonly #pending = element("pending", HTMLElement);
  readonly #cut = element("cut", HTMLInputElement);
  readonly #access = element("access", HTMLFormElement);

  constructor(store: Store, edgeName: () => string) {
    this.#store = store;
    this.#edgeName = edgeName;
    // A browser may restore the switch of the page before.
    this.#cut.checked = false;
    this.#cut.addEventListener("change", () => (this.#cut.checked ? store.cut() : store.restore()));
    store.addEventListener("status", () => this.#show());
    // The time to the next attempt runs on without any event.
    setInterval(() => this.#show(), 1000);
    this.#show();
  }

  #show(): void {
    const status = this.#store.status;
    this.#section.dataset.state = stateOf(status);
    set(this.#status, sentence(status, this.#edgeName()));
    set(this.#detail, detail(status));
    set(this.#pending, grouped(status.pending));
    this.#access.hidden = status.problem !== "denied";
  }
}

/** What the colours tell apart. */
function stateOf({ phase, isCut, problem }: Status): string {
  if (phase !== "offline") return phase;
  if (isCut) return "offline";
  if (problem === "denied") return "denied";
  return problem === undefined ? "connecting" : "offline";
}

/** Read out by screen readers when it changes, so it holds no number that does. */
function sentence({ phase, isCut, problem }: Status, edge: string): string {
  if (isCut) return "The network is cut.";
  if (phase === "synced") return `Connected to ${edge}.`;
  if (phase === "syncing") return `Connected to ${edge}, catching up.`;
  if (problem === "denied") return `${edge} does not accept this access token.`;
  if (problem === "misunderstood") return `${edge} speaks another version. Reload this page when you can.`;
  if (problem === "unreachable") return `Offline: ${edge} cannot be reached.`;
  return `Connecting to ${edge}…`;
}

function detail({ phase, isCut, pending, storage, problem, retryAt }: Status): string {
  if (phase === "synced") return "The edge has everything that this tab has written.";
  if (phase === "syncing") return "Writes are on their way to the edge.";
  const place = storage === "saved" ? "on this device" : "in this tab";
  const waits = pending > 0 ? `What you write waits ${place}.` : "Reads and writes go on in this tab.";
  if (isCut) return waits;
  const seconds = retryAt === undefined ? 0 : Math.ceil((retryAt - Date.now()) / 1000);
  const next = seconds > 0 ? `Next attempt in ${seconds} s.` : "Trying now.";
  return problem === "denied" ? next : `${waits} ${next}`;
}

/** Leaves equal text alone, which a screen reader would read out again. */
function set(target: HTMLElement, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}
