/** The links between the demo's edges and its daemon, which the demo really cuts (xtask/src/demo/links.rs). */

export class Links {
  readonly #url: string;
  readonly #authorization: string;

  constructor(url: string, token: string) {
    this.#url = url;
    this.#authorization = `Bearer ${token}`;
  }

  /** Which links are up, by the name of their edge; nothing where the demo does not answer. */
  async states(): Promise<Readonly<Record<string, boolean>> | undefined> {
    return (await this.#ask("/links")) as Record<string, boolean> | undefined;
  }

  /** Restores a link, or cuts it. */
  async set(edge: string, isUp: boolean): Promise<void> {
    await this.#ask(`/links/${encodeURIComponent(edge)}`, isUp);
  }

  /** What a plain client reads at the origin: nothing where it cannot be asked, and `null` where there is no such key. */
  async value(key: string): Promise<string | null | undefined> {
    return (await this.#ask(`/values/${encodeURIComponent(key)}`)) as string | null | undefined;
  }

  async #ask(path: string, body?: unknown): Promise<unknown> {
    const headers = { authorization: this.#authorization };
    try {
      const answer =
        body === undefined
          ? await fetch(this.#url + path, { headers })
          : await fetch(this.#url + path, {
              method: "POST",
              headers: { ...headers, "content-type": "application/json" },
              body: JSON.stringify(body),
            });
      return answer.ok ? await answer.json() : undefined;
    } catch {
      return undefined;
    }
  }
}
