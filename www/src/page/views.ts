/**
 * The pages of the site, of which one is shown. They are parts of one document, so that going from one to the other costs no
 * connection and works without a network.
 *
 * Which one is shown is the style sheet's doing, by the fragment of the address (`:target`); here is what follows from it.
 */

import { element } from "./element.ts";

/** What a page does while it is shown, and no longer. */
export interface Page {
  shown(): void;
  hidden(): void;
}

/** Where there is no fragment, or one that names no page. */
const FIRST = "live";

/** Lets the pages know when they are shown, now and from now on. */
export function followPages(pages: Readonly<Record<string, Page>>): void {
  let current: string | undefined;
  const follow = () => {
    const named = location.hash.slice(1);
    const next = document.querySelector(`article.view[id="${CSS.escape(named)}"]`) ? named : FIRST;
    if (next === current) return;
    const isFirst = current === undefined;
    if (current !== undefined) pages[current]?.hidden();
    current = next;
    mark(next, !isFirst);
    pages[next]?.shown();
  };
  addEventListener("hashchange", follow);
  follow();
  // A fragment of its own would name another page.
  element("skip", HTMLAnchorElement).addEventListener("click", (event) => {
    event.preventDefault();
    element("main", HTMLElement).focus();
  });
}

function mark(page: string, isMove: boolean): void {
  for (const link of document.querySelectorAll<HTMLAnchorElement>(".pages a")) {
    if (link.hash !== `#${page}`) {
      link.removeAttribute("aria-current");
      continue;
    }
    link.setAttribute("aria-current", "page");
    document.title = `${link.textContent} – Headwater`;
  }
  // Where the reader goes on; where the address brought them, the browser has decided.
  if (isMove) document.querySelector<HTMLElement>(`#${page} h1`)?.focus({ preventScroll: true });
}
