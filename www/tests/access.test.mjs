/**
 * What every page must be: without a violation that axe-core finds, within the width, in light and dark, on a phone and on a
 * desk. `page.test.mjs` has the contract with whoever starts it.
 *
 * With HEADWATER_TEST_SCREENSHOTS, a folder, each of these is a picture there: `live-light-390.png`. Those under
 * docs/screenshots are made so, by
 *
 *     HEADWATER_TEST_SCREENSHOTS=docs/screenshots cargo xtask test browser
 */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DEADLINE_MS, eventually, here, hitsAt, number, required, shiftsIn, siteOpened, tab, test } from "./support.mjs";

const WIDTHS = [{ width: 1280, height: 900 }, { width: 390, height: 844 }];
const axe = await readFile("node_modules/axe-core/axe.min.js", "utf8");

test("the live page is accessible", async (t) => {
  await hitsAt(here, "/for-the-board", 1);
  const page = await siteOpened(t);
  await page.locator("#board li").first().waitFor();
  await examine(page, "live");
});

test("the console is accessible", async (t) => {
  const page = await siteOpened(t, "console");
  const everywhere = async (line) => {
    await page.getByLabel("At every edge").fill(line);
    await page.getByRole("button", { name: "Run", exact: true }).click();
    await eventually("all have answered", () => page.locator(".reply.waiting").count(), 0);
  };
  await everywhere("DEL tour");
  await everywhere("HSET tour river Danube length 2850");
  await everywhere("HGETALL tour");
  await everywhere("INCR tour");
  await examine(page, "console");
});

test("the playground of rate limits is accessible", async (t) => {
  const page = await siteOpened(t, "limits");
  await page.getByLabel("Limit", { exact: true }).fill("10");
  await page.getByLabel("Window, seconds").fill("2");
  await page.getByRole("button", { name: "Start" }).click();
  const answered = async () => number(await page.locator("#limits-allowed").textContent()) + number(await page.locator("#limits-refused").textContent());
  await eventually("a good many are answered", async () => (await answered()) >= 80, true);
  await page.getByRole("button", { name: "Stop" }).click();
  await examine(page, "limits");
});

test("the sessions are accessible", async (t) => {
  const page = await siteOpened(t, "sessions");
  // So long that neither ends by itself while the test runs.
  await page.getByLabel("Lives, seconds").fill("3600");
  for (const user of ["ada", "bob"]) {
    await page.getByLabel("User").fill(user);
    await page.getByRole("button", { name: "Create a session" }).click();
    await page.locator(".session-name", { hasText: user }).waitFor();
  }
  await page.getByRole("button", { name: "Revoke the session of ada" }).click();
  await eventually("it is gone everywhere", () => page.locator(".gone").count(), 3);
  await examine(page, "sessions");
});

test("the map is accessible", async (t) => {
  const page = await siteOpened(t, "map");
  await page.getByText("All nodes have everything.").waitFor({ timeout: DEADLINE_MS });
  await page.getByRole("switch", { name: "Link of Leaf at us to its edge" }).uncheck({ force: true });
  for (const node of ["Leaf at us", "Leaf at us", "Leaf at eu"]) await page.getByRole("button", { name: `Add 1 at ${node}` }).click();
  await page.getByText("Some nodes have not heard of everything.").waitFor({ timeout: DEADLINE_MS });
  await page.locator("#map-figure .edge .value", { hasText: "1" }).first().waitFor();
  await examine(page, "map");
});

test("the documentation is accessible", async (t) => {
  for (const name of ["index", "semantics", "limits", "comparison"]) {
    const page = await tab(t, `${here}/docs/${name}.html`);
    await examine(page, name === "semantics" ? "docs" : undefined);
  }
});

test("the daemon's status page is accessible, and shows what goes on", async (t) => {
  const page = await tab(t, required("HEADWATER_TEST_DAEMON"));
  page.setDefaultTimeout(DEADLINE_MS);
  // Put in their place by the script: the page itself was loaded before these operations.
  await page.evaluate(() => { window.isSamePage = true; });
  for (let hit = 0; hit < 5; hit += 1) await hitsAt(here, "/for-the-daemon", 1);
  await page.locator("#rows td", { hasText: /^yes$/ }).first().waitFor();
  await page.locator("#plots figure", { hasText: "Throughput" }).locator("p", { hasText: /operations: \S+ now, (?!0 )/ }).waitFor();
  assert.equal(await page.locator("#plots svg polyline").count() > 0, true);
  assert.equal(await page.evaluate(() => window.isSamePage), true);
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByRole("button", { name: "Go on" }).waitFor();
  await examine(page, "daemon");
});

test("the daemon's status page shows without script", async (t) => {
  const page = await tab(t, required("HEADWATER_TEST_DAEMON"), { javaScriptEnabled: false });
  await page.locator("#rows th").first().waitFor();
  await page.locator("#plots svg title").first().waitFor({ state: "attached" });
  assert.equal(await page.locator("#pause").isVisible(), false);
});

test("nothing moves while a page loads", async (t) => {
  for (const viewport of WIDTHS) {
    for (const name of ["console", "limits", "sessions", "map"]) {
      const page = await siteOpened(t, name, { viewport });
      assert.deepEqual(await shiftsIn(page), [], `${name} at ${viewport.width} px`);
    }
  }
});

/** Demands all of it of the page as it stands, and takes the pictures if there is a name for them. */
async function examine(page, name) {
  await page.evaluate(axe);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    for (const viewport of WIDTHS) {
      await page.setViewportSize(viewport);
      const found = await page.evaluate(async () => {
        // The width has reached what is drawn by script.
        await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
        const { violations } = await window.axe.run();
        return violations.map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`) }));
      });
      assert.deepEqual(found, [], `${colorScheme} at ${viewport.width} px`);
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.equal(width, viewport.width, "nothing hangs over the side");
      const folder = process.env.HEADWATER_TEST_SCREENSHOTS;
      if (!folder || !name) continue;
      const path = join(folder, `${name}-${colorScheme}-${viewport.width}.png`);
      await page.screenshot({ path, fullPage: name !== "docs", animations: "disabled" });
    }
  }
}
