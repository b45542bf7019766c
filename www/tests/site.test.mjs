/**
 * The pages of the site beside the live one, in a real Chromium against a real stack. `page.test.mjs` has the contract with
 * whoever starts it; besides, HEADWATER_TEST_LINKS is where the stack cuts the links between its edges and its daemon.
 *
 * Each test has keys of its own, so that it can run beside others.
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { DEADLINE_MS, eventually, here, number, post, siteOpened, tab, test } from "./support.mjs";

test("a page is reached by its link, says so, and leaves the reader at its heading", async (t) => {
  const page = await siteOpened(t);
  await page.getByRole("link", { name: "Console" }).click();
  await page.getByRole("heading", { name: "Console", level: 1 }).waitFor();
  assert.equal(await page.title(), "Console – Headwater");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "console-title");
  assert.equal(await page.locator('.pages [aria-current="page"]').textContent(), "Console");
  assert.equal(await page.getByRole("button", { name: "Add a hit" }).isVisible(), false);
  await page.goBack();
  await page.getByRole("button", { name: "Add a hit" }).waitFor();
  assert.equal(await page.title(), "Live – Headwater");
});

test("the console shows replies and errors as each edge gives them, and brings lines back by the arrow keys", async (t) => {
  const page = await siteOpened(t, "console");
  const key = `console:${randomUUID()}`;
  const run = async (edge, line) => {
    await page.getByLabel(`Command at ${edge}`).fill(line);
    await page.getByRole("button", { name: `Run at ${edge}` }).click();
  };
  const last = (edge) => page.getByRole("log", { name: `Replies of ${edge}` }).locator(".reply").last().textContent();
  await run("eu", `SET ${key} "two words"`);
  await eventually("eu replies", () => last("eu"), '"OK"');
  const read = async () => {
    await run("us", `GET ${key}`);
    await eventually("us answers", async () => (await last("us")) !== "…", true);
    return last("us");
  };
  await eventually("us reads it", read, '"two words"');
  await run("us", `INCR ${key}`);
  await eventually("us refuses", () => last("us"), "(error) ERR value is not an integer or out of range");
  await run("us", `GET "${key}`);
  await eventually("a quote is open", () => last("us"), "(error) Invalid argument(s)");

  const input = page.getByLabel("Command at us");
  await input.fill("half a line");
  await input.press("ArrowUp");
  assert.equal(await input.inputValue(), `GET "${key}`);
  await input.press("ArrowUp");
  assert.equal(await input.inputValue(), `INCR ${key}`);
  await input.press("ArrowDown");
  await input.press("ArrowDown");
  assert.equal(await input.inputValue(), "half a line");

  await page.getByLabel("At every edge").fill(`EXISTS ${key}`);
  await page.getByRole("button", { name: "Run", exact: true }).click();
  for (const edge of ["eu", "us", "ap"]) await eventually(`${edge} replies`, () => last(edge), "(integer) 1");
});

test("the playground counts what an edge allows beside an exact log", async (t) => {
  const page = await siteOpened(t, "limits");
  await page.getByLabel("Limit", { exact: true }).fill("5");
  // So long that it cannot pass while the test runs.
  await page.getByLabel("Window, seconds").fill("3600");
  await page.getByLabel("Requests per second").fill("50");
  for (const edge of ["us", "ap"]) await page.getByRole("checkbox", { name: edge }).uncheck();
  await page.getByRole("button", { name: "Start" }).click();
  const shown = async (id) => number(await page.locator(`#limits-${id}`).textContent());
  await eventually("some are refused", async () => (await shown("refused")) >= 10, true);
  assert.equal(await shown("allowed"), 5);
  assert.equal(await shown("exact-allowed"), 5);
  assert.equal(await page.locator("#limits-most").textContent(), "unbounded");
  await eventually(
    "the chart says so",
    async () => (await page.locator("#window-chart").getAttribute("aria-label")).startsWith("Within the last window the edges allowed 5, an exact log 5;"),
    true,
  );
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("Stopped.").waitFor();
});

test("the playground runs on the isolate's memory too", async (t) => {
  const page = await siteOpened(t, "limits");
  await page.getByLabel("Limit", { exact: true }).fill("5");
  await page.getByLabel("Window, seconds").fill("3600");
  await page.getByLabel("Requests per second").fill("50");
  await page.getByLabel("Answered from").selectOption("leaf");
  const isolate = page.waitForResponse(
    async (answer) => answer.url().endsWith("/v1/limit") && (await answer.headerValue("headwater-durability")) === "leaf",
  );
  await page.getByRole("button", { name: "Start" }).click();
  await isolate;
  await eventually("some are refused", async () => number(await page.locator("#limits-refused").textContent()) >= 10, true);
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("Stopped.").waitFor();
});

test("a session is made at one edge, rotated and revoked at another, and every edge comes to say so", async (t) => {
  const page = await siteOpened(t, "sessions");
  await page.getByLabel("Lives, seconds").fill("3600");
  await page.getByRole("button", { name: "Create a session" }).click();
  const states = async () => (await page.locator(".session dd").allTextContents()).map((state) => state.replace(/^\d+ s$/, "some"));
  const all = (state) => eventually(`all edges say ${state}`, async () => (await states()).join(), Array(3).fill(state).join());
  await all("some");
  const key = page.locator(".session code");
  const before = await key.textContent();
  await page.getByRole("radio", { name: "us" }).check();
  await page.getByRole("button", { name: "Rotate the session of ada" }).click();
  await eventually("it has another name", async () => (await key.textContent()) !== before, true);
  await all("some");
  assert.deepEqual(await post(here, "/", ["HGET", await key.textContent(), "user"]), { result: "ada" });
  await page.getByRole("button", { name: "Revoke the session of ada" }).click();
  await all("gone");
});

test("on the map nodes disagree while a link is cut, be it the tab's or the daemon's, and agree when it is restored", async (t) => {
  const page = await siteOpened(t, "map");
  const value = (node) => page.getByRole("row", { name: new RegExp(`^${node} `) }).locator("td").first().textContent();
  const nodes = [...["eu", "us", "ap"].flatMap((edge) => [`Leaf at ${edge}`, `Edge ${edge}`]), "Origin"];
  const agree = async (sum) => {
    for (const node of nodes) await eventually(`${node} shows ${sum}`, () => value(node), String(sum));
    await page.getByText("All nodes have everything.").waitFor({ timeout: DEADLINE_MS });
  };
  const add = (node) => page.getByRole("button", { name: `Add 1 at ${node}` }).click();
  const link = (name) => page.getByRole("switch", { name: `Link of ${name}` });
  await agree(0);
  await add("Leaf at us");
  await agree(1);

  await link("Leaf at eu to its edge").uncheck({ force: true });
  await add("Leaf at eu");
  await add("Edge us");
  await eventually("the leaf has its own", () => value("Leaf at eu"), "2");
  await eventually("the others have theirs", () => value("Edge ap"), "2");
  await page.getByText("Some nodes have not heard of everything.").waitFor({ timeout: DEADLINE_MS });
  await link("Leaf at eu to its edge").check({ force: true });
  await agree(3);

  t.after(() => fetch(`${process.env.HEADWATER_TEST_LINKS}/links/us`, {
    method: "POST",
    headers: { authorization: `Bearer ${process.env.HEADWATER_TEST_TOKEN}`, "content-type": "application/json" },
    body: "true",
  }));
  await link("Edge us to the origin").uncheck({ force: true });
  await page.locator(".link.down").waitFor({ timeout: DEADLINE_MS });
  await add("Leaf at us");
  await eventually("beyond the cut it arrives", () => value("Edge us"), "4");
  await add("Edge eu");
  await eventually("on this side too", () => value("Origin"), "4");
  assert.equal(await value("Edge us"), "4", "its own, and not the one of eu");
  await link("Edge us to the origin").check({ force: true });
  await agree(5);
});

test("every link of the documentation leads somewhere", async (t) => {
  const page = await tab(t, `${here}/docs/`);
  const seen = new Set();
  const queue = [`${here}/docs/`];
  for (let url = queue.pop(); url; url = queue.pop()) {
    if (seen.has(url)) continue;
    seen.add(url);
    await page.goto(url);
    assert.notEqual(await page.title(), "", url);
    const links = await page.locator("main a[href]").evaluateAll((all) => all.map(({ href }) => href));
    for (const link of links.filter((link) => link.startsWith(`${here}/docs/`))) {
      const [path, fragment] = link.split("#");
      const answer = await fetch(path);
      assert.equal(answer.status, 200, `${url} links to ${link}`);
      if (fragment) assert.ok((await answer.text()).includes(`id="${fragment}"`), `${url} links to ${link}`);
      queue.push(path);
    }
  }
  assert.ok(seen.size >= 10, `${seen.size} pages`);
});
