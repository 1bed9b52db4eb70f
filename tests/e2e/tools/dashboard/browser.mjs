// A page in Chromium with what every check needs: who is signed in, what was asked for, screenshots, axe.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = path.dirname(fileURLToPath(import.meta.url));
const AXE = fs.readFileSync(path.join(here, "node_modules/axe-core/axe.min.js"), "utf8");
/** Long enough for anything on a busy machine. */
export const PATIENCE_MS = 120_000;

/** What the test said: { url, … }. */
export const given = JSON.parse(process.argv[2]);
const shots = process.env.CORACLE_SCREENSHOTS;

/** Looks until it is so. */
export async function until(look, what) {
  const end = Date.now() + PATIENCE_MS;
  while (!(await look())) {
    if (Date.now() > end) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

/** Opens a browser, does the work, and closes it; a failure leaves a screenshot. */
export async function withBrowser(work) {
  // A page that comes from a folder has no address, and may not call this machine's own unless that check is off.
  const local = process.env.CORACLE_UI ? ["--disable-features=LocalNetworkAccessChecks"] : [];
  const browser = await chromium.launch({ executablePath: process.env.CORACLE_CHROMIUM, args: ["--no-sandbox", ...local] });
  const opened = [];
  try {
    await work((options) => open(browser, options).then((each) => (opened.push(each), each)));
    for (const each of opened) each.check();
  } catch (error) {
    for (const [number, { page }] of opened.entries()) {
      if (!page.isClosed()) await page.screenshot({ path: path.join(shots, `failed-${number}.png`) }).catch(() => {});
    }
    for (const each of opened) console.error(each.said.join("\n"));
    throw error;
  } finally {
    // What is being answered in the server's place goes nowhere any more, which is no failure.
    for (const { page } of opened) if (!page.isClosed()) await page.unrouteAll({ behavior: "ignoreErrors" });
    await browser.close();
  }
}

/** Serves the dashboard from a folder instead of the binary: for its developers, who need not build at each change. */
async function fromFolder(page, folder) {
  const types = { html: "text/html", css: "text/css", js: "text/javascript", svg: "image/svg+xml" };
  await page.route("**/ui/**", (route) => {
    const file = path.join(folder, new URL(route.request().url()).pathname.replace("/ui/", "") || "index.html");
    if (!fs.existsSync(file)) return route.fulfill({ status: 404 });
    return route.fulfill({ body: fs.readFileSync(file), contentType: types[path.extname(file).slice(1)] });
  });
}

/** Remembers what the page says for a moment, so that a script that was not looking just then hears of it. */
function keepNotes() {
  window.notes = [];
  const seen = (node) => {
    if (node.classList?.contains("toast")) window.notes.push(node.textContent);
  };
  new MutationObserver((changes) => changes.forEach(({ addedNodes }) => addedNodes.forEach(seen))).observe(document, { childList: true, subtree: true });
}

async function open(browser, { width = 1360, height = 860, scheme = "light" } = {}) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width, height }, colorScheme: scheme });
  const page = await context.newPage();
  await page.addInitScript(keepNotes);
  if (process.env.CORACLE_UI) await fromFolder(page, process.env.CORACLE_UI);
  page.setDefaultTimeout(PATIENCE_MS);
  const said = [];
  const strangers = [];
  const files = new Map();
  page.on("pageerror", (error) => said.push(`uncaught: ${error.stack}`));
  page.on("console", (message) => {
    // What the API refuses, the browser notes as well; what the page breaks is its own fault.
    if (message.type() === "error" && !/status of 40[0-9]|WebSocket/.test(message.text())) said.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    const target = request.url();
    if (!target.startsWith(given.url) && !/^(data|blob):/.test(target)) strangers.push(target);
  });
  page.on("requestfinished", async (request) => {
    if (!request.url().startsWith(`${given.url}/ui/`)) return;
    const sizes = await request.sizes().catch(() => null);
    if (sizes) files.set(request.url(), sizes.responseBodySize);
  });
  const self = {
    page, said, files,
    /** Nothing was asked of anybody else, and nothing went wrong unseen. */
    check() {
      assert.deepEqual(strangers, [], "requests to outside");
      assert.deepEqual(said, [], "errors in the page");
    },
    /** Goes to a page of the dashboard and waits for its title. */
    async go(hash, title) {
      await page.evaluate((to) => { location.hash = to; }, hash);
      await page.getByRole("heading", { level: 1, name: title }).waitFor();
    },
    /** Signs in with a token, by the form. */
    async signIn(token) {
      await page.goto(`${given.url}/ui/`);
      await page.getByLabel("Token").fill(token);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
    },
    /** Waits until the page has said this for a moment. */
    async told(text) {
      await until(() => page.evaluate((wanted) => window.notes.some((note) => note.includes(wanted)), text), `it says ${text}`);
    },
    async shot(name) {
      await page.screenshot({ path: path.join(shots, `${name}.png`) });
    },
    /** No rule of WCAG 2.2 AA that axe can check is broken. */
    async accessible(what) {
      // The protocol's own evaluation: the page's policy forbids scripts from elsewhere, and rightly so.
      if (!(await page.evaluate(() => Boolean(window.axe)))) await page.evaluate(AXE);
      const found = await page.evaluate(async () => {
        const { violations } = await window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
        return violations.map((each) => `${each.id}: ${each.help}: ${each.nodes.slice(0, 3).map((node) => `${node.html} ${node.any[0]?.message ?? ""}`).join(" | ")}`);
      });
      assert.deepEqual(found, [], `accessibility of ${what}`);
    },
    /** Nothing sticks out to the side. */
    async fits(what) {
      const over = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
      assert.ok(over <= 0, `${what} is ${over} pixels too wide`);
    },
  };
  return self;
}
