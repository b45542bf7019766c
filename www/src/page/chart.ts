/** A line chart over seconds, in the page's colours. */

import uPlot from "uplot";
import { element } from "./element.ts";

/** How high it is; as the style sheet has it, so that nothing shifts. */
const HEIGHT_PX = 260;

/** One line, or the upper edge of a band that reaches down to another line. */
export interface Line {
  readonly label: string;
  /** A custom property of the style sheet. */
  readonly colour: string;
  readonly isDashed?: boolean;
  /** The line, counted from 0, that the band reaches down to. */
  readonly bandTo?: number;
}

export class Chart {
  readonly #box: HTMLElement;
  readonly #plot: uPlot;

  constructor(id: string, lines: readonly Line[]) {
    this.#box = element(id, HTMLElement);
    const axis = { stroke: () => this.#colour("--ink-soft"), grid: { stroke: () => this.#colour("--line"), width: 1 }, ticks: { show: false } };
    this.#plot = new uPlot(
      {
        width: Math.max(this.#box.clientWidth, 1),
        height: HEIGHT_PX,
        scales: { x: { time: false }, y: { range: (_, __, max) => [0, Math.max(max * 1.1, 1)] } },
        axes: [{ ...axis, values: (_, seconds) => seconds.map((second) => `${second} s`) }, { ...axis, size: 44 }],
        // The legend is no canvas, so its colours follow by themselves.
        legend: { markers: { stroke: (_, index) => `var(${lines[index - 1]?.colour ?? "--ink"})` } },
        cursor: { drag: { x: false, y: false } },
        series: [
          { label: "Seconds", value: (_, second) => (second === null ? "–" : `${second} s`) },
          ...lines.map(({ label, colour, isDashed, bandTo }) => ({
            label,
            stroke: () => this.#colour(colour),
            width: bandTo === undefined ? 2 : 0,
            ...(isDashed ? { dash: [6, 5] } : {}),
            points: { show: false },
            value: (_: uPlot, value: number | null) => (value === null ? "–" : String(Math.round(value * 10) / 10)),
          })),
        ],
        bands: lines.flatMap(({ colour, bandTo }, index) =>
          bandTo === undefined ? [] : [{ series: [index + 1, bandTo + 1] as [number, number], fill: () => this.#colour(colour, 0.25) }],
        ),
      },
      [[], ...lines.map(() => [])],
      this.#box,
    );
    // A page that is not shown has no width.
    new ResizeObserver(([entry]) => {
      const width = entry?.contentRect.width ?? 0;
      if (width > 0) this.#plot.setSize({ width, height: HEIGHT_PX });
    }).observe(this.#box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#plot.redraw());
  }

  /** Shows the lines' values at these seconds, and says the same in words. */
  show(seconds: readonly number[], lines: readonly (readonly number[])[], words: string): void {
    this.#plot.setData([[...seconds], ...lines.map((values) => [...values])]);
    this.#box.setAttribute("aria-label", words);
  }

  /** A canvas knows no custom properties. */
  #colour(property: string, opacity = 1): string {
    const probe = this.#box.appendChild(document.createElement("span"));
    probe.style.color = opacity === 1 ? `var(${property})` : `color-mix(in srgb, var(${property}) ${opacity * 100}%, transparent)`;
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  }
}
