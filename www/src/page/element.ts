/** Access to what index.html declares. */

/** The element with this id, which index.html has, of this class. */
export function element<E extends Element>(id: string, type: new () => E): E {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} #${id}`);
  return found;
}

/** A new element with text. */
export function made<T extends keyof HTMLElementTagNameMap>(tag: T, className: string, text = ""): HTMLElementTagNameMap[T] {
  const created = document.createElement(tag);
  created.className = className;
  created.textContent = text;
  return created;
}

const GROUPED = new Intl.NumberFormat("en");

/** An integer with its thousands apart, or a dash for what is not known. */
export function grouped(number: number | undefined): string {
  return number === undefined ? "–" : GROUPED.format(number);
}

/** Whether things may move. */
export function mayMove(): boolean {
  return !matchMedia("(prefers-reduced-motion: reduce)").matches;
}
