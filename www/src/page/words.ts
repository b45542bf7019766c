/** Command lines and replies as redis-cli writes them. */

import type { JsonReply } from "./edge.ts";

/** What a backslash makes of the letter behind it, between double quotes. */
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", b: "\b", a: "\x07" };

/** One word: between double quotes with escapes, between single quotes, or bare. */
const WORD = /"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s"']+)/y;

/** The words of a line; nothing where a quote is left open, or something stands right behind a closing one. */
export function split(line: string): string[] | undefined {
  const words: string[] = [];
  let at = 0;
  for (;;) {
    while (/\s/.test(line[at] ?? "")) at += 1;
    if (at >= line.length) return words;
    WORD.lastIndex = at;
    const found = WORD.exec(line);
    if (!found) return undefined;
    at = WORD.lastIndex;
    if (at < line.length && !/\s/.test(line[at] ?? "")) return undefined;
    const [, double, single, bare] = found;
    words.push(bare ?? single?.replaceAll("\\'", "'") ?? unescaped(double ?? ""));
  }
}

/** The reply over as many lines as it takes. */
export function shown(reply: JsonReply): string {
  if (reply === null) return "(nil)";
  if (typeof reply === "number") return `(integer) ${reply}`;
  if (typeof reply === "string") return JSON.stringify(reply);
  if (reply.length === 0) return "(empty array)";
  const width = String(reply.length).length;
  return reply
    .map((item, index) => {
      const number = `${String(index + 1).padStart(width)}) `;
      return number + shown(item).replaceAll("\n", `\n${" ".repeat(number.length)}`);
    })
    .join("\n");
}

function unescaped(text: string): string {
  return text.replace(/\\(x[0-9a-fA-F]{2}|.)/g, (_, what: string) =>
    what.length === 3 ? String.fromCharCode(Number.parseInt(what.slice(1), 16)) : (ESCAPES[what] ?? what),
  );
}
