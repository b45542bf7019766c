/**
 * The playground for rate limits: requests at a chosen rate at chosen edges, and beside their answers those of one exact log.
 *
 * Each run has a key of its own, so that it begins with nothing spent. What is plotted at a time counts the requests by when
 * they were sent, whenever their answers come.
 */

import { Chart } from "./chart.ts";
import { offerEdges } from "./choices.ts";
import type { Check, Decision, Durability, EdgeClient } from "./edge.ts";
import { element, grouped } from "./element.ts";
import { SlidingLog } from "./sliding_log.ts";
import type { Page } from "./views.ts";

/** Between two looks at the clock; what is due is then sent. */
const TICK_MS = 50;
/** Between two drawings. */
const DRAW_MS = 250;
/** What is drawn, and between two points of it. */
const SHOWN_MS = 60_000;
const STEP_MS = 500;
/** More requests than these are not under way at once, at all edges together; what would be is not sent. */
const UNDER_WAY_MAX = 200;

/** One request. */
interface Sent {
  readonly at: number;
  readonly isExact: boolean;
  /** What the edge answered; nothing yet. */
  decision: Decision | undefined;
}

export class Playground implements Page {
  readonly #form = element("limits-form", HTMLFormElement);
  readonly #button = element("limits-start", HTMLButtonElement);
  readonly #status = element("limits-status", HTMLElement);
  readonly #chosen: () => readonly EdgeClient[];
  #charts: Charts | undefined;
  #run: Run | undefined;

  constructor(edges: readonly EdgeClient[]) {
    this.#chosen = offerEdges("limits-edges", "checkbox", edges);
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#run) this.#stop("Stopped.");
      else this.#start();
    });
  }

  shown(): void {
    this.#charts ??= new Charts();
  }

  hidden(): void {
    if (this.#run) this.#stop("Stopped, since this page was left.");
  }

  #start(): void {
    const fields = new FormData(this.#form);
    const edges = this.#chosen();
    if (edges.length === 0) {
      this.#status.textContent = "Choose an edge first.";
      return;
    }
    const check: Check = {
      key: `playground:${crypto.randomUUID()}`,
      algorithm: String(fields.get("algorithm")),
      limit: Number(fields.get("limit")),
      window_ms: Number(fields.get("window")) * 1000,
    };
    const durability = fields.get("durability") === "leaf" ? "leaf" : "hub";
    this.#run = new Run(edges, check, durability, Number(fields.get("rate")), (run) => this.#show(run));
    this.#status.textContent = `Running at ${edges.map(({ name }) => name).join(", ")}.`;
    this.#button.textContent = "Stop";
    this.#lock(true);
  }

  #stop(why: string): void {
    const run = this.#run;
    this.#run = undefined;
    // What is under way is still shown.
    void run?.stop().then(() => this.#show(run));
    this.#status.textContent = why;
    this.#button.textContent = "Start";
    this.#lock(false);
  }

  #lock(isLocked: boolean): void {
    for (const field of this.#form.querySelectorAll<HTMLInputElement | HTMLSelectElement>("input, select")) field.disabled = isLocked;
  }

  #show(run: Run): void {
    const { allowed, refused, exactAllowed, exactRefused } = run.sums;
    text("limits-allowed", grouped(allowed));
    text("limits-refused", grouped(refused));
    text("limits-exact-allowed", grouped(exactAllowed));
    text("limits-exact-refused", grouped(exactRefused));
    const { last, error } = run;
    text("limits-remaining", grouped(last?.remaining));
    text("limits-staleness", last?.staleness == null ? "not heard yet" : `${grouped(last.staleness)} ms`);
    text("limits-expected", last?.over_admit_expected === undefined ? "–" : grouped(last.over_admit_expected));
    text("limits-most", last?.over_admit_max === undefined ? "–" : String(last.over_admit_max));
    if (error !== undefined && run === this.#run) {
      const told = `Some requests got no decision: ${error}`;
      if (this.#status.textContent !== told) this.#status.textContent = told;
    }
    this.#charts?.show(run);
  }
}

/** One run, from start to stop. */
class Run {
  readonly #edges: readonly EdgeClient[];
  readonly #durability: Durability;
  readonly #rate: number;
  readonly #log: SlidingLog;
  readonly #startedAt = performance.now();
  readonly #timers: readonly ReturnType<typeof setInterval>[];
  /** Those that something drawn still counts, in the order of their times. */
  #sent: Sent[] = [];
  #count = 0;
  #stoppedAt: number | undefined;
  readonly #underWay = new Set<Promise<void>>();
  readonly check: Check;
  readonly sums = { allowed: 0, refused: 0, exactAllowed: 0, exactRefused: 0 };
  /** The last decision that came. */
  last: Decision | undefined;
  /** Why the last request without a decision has none. */
  error: string | undefined;

  constructor(edges: readonly EdgeClient[], check: Check, durability: Durability, rate: number, draw: (run: Run) => void) {
    this.#edges = edges;
    this.check = check;
    this.#durability = durability;
    this.#rate = rate;
    this.#log = new SlidingLog(check.limit, check.window_ms);
    this.#timers = [setInterval(() => this.#sendDue(), TICK_MS), setInterval(() => draw(this), DRAW_MS)];
  }

  /** Sends no more; resolves once all has been answered. */
  async stop(): Promise<void> {
    this.#timers.forEach(clearInterval);
    this.#stoppedAt = performance.now();
    await Promise.all(this.#underWay);
  }

  /** In whole steps since the start, and of each what `count` makes of the requests up to then. */
  points<T>(count: (upTo: number, sent: readonly Sent[]) => T): { seconds: number[]; counts: T[] } {
    const now = (this.#stoppedAt ?? performance.now()) - this.#startedAt;
    const last = Math.floor(now / STEP_MS);
    const first = Math.max(last - SHOWN_MS / STEP_MS, 0);
    const steps = Array.from({ length: last - first + 1 }, (_, index) => first + index);
    return {
      seconds: steps.map((step) => (step * STEP_MS) / 1000),
      counts: steps.map((step) => count(this.#startedAt + step * STEP_MS, this.#sent)),
    };
  }

  #sendDue(): void {
    const now = performance.now();
    const due = Math.floor(((now - this.#startedAt) / 1000) * this.#rate);
    for (; this.#count < due; this.#count += 1) {
      const edge = this.#edges[this.#count % this.#edges.length];
      if (edge && this.#underWay.size < UNDER_WAY_MAX) this.#begin(edge, now);
    }
    const oldest = now - SHOWN_MS - Math.max(this.check.window_ms, 1000);
    const first = this.#sent.findIndex(({ at }) => at >= oldest);
    if (first > 0) this.#sent.splice(0, first);
  }

  #begin(edge: EdgeClient, at: number): void {
    const sending = this.#send(edge, at).finally(() => this.#underWay.delete(sending));
    this.#underWay.add(sending);
  }

  async #send(edge: EdgeClient, at: number): Promise<void> {
    const sent: Sent = { at, isExact: this.#log.take(at), decision: undefined };
    this.sums[sent.isExact ? "exactAllowed" : "exactRefused"] += 1;
    this.#sent.push(sent);
    const decision = await edge.limit(this.check, this.#durability);
    if (decision.error !== undefined) {
      this.error = decision.error;
      return;
    }
    sent.decision = decision;
    this.last = decision;
    this.sums[decision.allowed ? "allowed" : "refused"] += 1;
  }
}

/** What both charts show of a run. */
class Charts {
  readonly #window = new Chart("window-chart", [
    { label: "The edges", colour: "--accent" },
    { label: "An exact log", colour: "--good", isDashed: true },
    { label: "Limit", colour: "--ink-soft" },
    { label: "Limit and expected error", colour: "--busy", bandTo: 2 },
  ]);
  readonly #rates = new Chart("rates-chart", [
    { label: "Allowed", colour: "--accent" },
    { label: "Refused", colour: "--bad" },
    { label: "Allowed by an exact log", colour: "--good", isDashed: true },
  ]);

  show(run: Run): void {
    const { limit, window_ms } = run.check;
    const isAllowed = ({ decision }: Sent) => decision?.allowed === true;
    const isRefused = ({ decision }: Sent) => decision?.allowed === false;
    const isExact = (sent: Sent) => sent.isExact;
    const windows = run.points((upTo, sent) => {
      const error = sent.findLast(({ at, decision }) => at <= upTo && decision !== undefined)?.decision?.over_admit_expected ?? 0;
      const within = between(sent, upTo - window_ms, upTo);
      return [within.filter(isAllowed).length, within.filter(isExact).length, limit, limit + error];
    });
    const rates = run.points((upTo, sent) => {
      const within = between(sent, upTo - 1000, upTo);
      return [within.filter(isAllowed).length, within.filter(isRefused).length, within.filter(isExact).length];
    });
    const [own = 0, exact = 0, , bound = 0] = windows.counts.at(-1) ?? [];
    this.#window.show(
      windows.seconds,
      columns(windows.counts),
      `Within the last window the edges allowed ${own}, an exact log ${exact}; the limit is ${limit}, with the expected error ${bound}.`,
    );
    const [allowed = 0, refused = 0, exactRate = 0] = rates.counts.at(-1) ?? [];
    this.#rates.show(
      rates.seconds,
      columns(rates.counts),
      `In the last second the edges allowed ${allowed} and refused ${refused}; an exact log allowed ${exactRate}.`,
    );
  }
}

/** Those after the one time, up to the other. */
function between(sent: readonly Sent[], after: number, upTo: number): readonly Sent[] {
  return sent.filter(({ at }) => at > after && at <= upTo);
}

function columns(rows: readonly (readonly number[])[]): number[][] {
  return (rows[0] ?? []).map((_, column) => rows.map((row) => row[column] ?? 0));
}

function text(id: string, shown: string): void {
  element(id, HTMLElement).textContent = shown;
}
