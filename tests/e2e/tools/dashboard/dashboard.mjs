// What somebody does with the dashboard of a running cluster; see tests/e2e/tests/dashboard.rs.

import assert from "node:assert/strict";
import { given, until, withBrowser } from "./browser.mjs";

const { admin, viewer, node } = given;

/** The door: nobody comes in without a token, and a wrong one is told so. */
async function signingIn(tab) {
  const { page } = tab;
  await page.goto(`${given.url}/ui/`);
  await page.getByLabel("Token").fill("wrong");
  await tab.accessible("the door");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("does not know this token").waitFor();
  await tab.signIn(admin);
}

/** Row obs.whats-running: what runs, where, how it does, and its name, on one page. */
async function overviewTells(tab) {
  const { page } = tab;
  const runs = page.getByRole("region", { name: "What runs" }).first();
  const web = runs.getByRole("row", { name: /^web Deployment shop/ });
  await web.getByText("3/3").waitFor();
  await web.getByText("healthy").waitFor();
  await web.getByRole("link", { name: node }).waitFor();
  await web.getByText("web.shop.svc.cluster.local").waitFor();
  const wrong = page.getByRole("region", { name: "What is wrong" });
  await wrong.getByRole("listitem").filter({ hasText: "default/crasher" }).getByText("exit code 3").waitFor();
  await wrong.getByRole("listitem").filter({ hasText: "shop/broken-" }).getByText("registry.coracle.internal/missing:1").waitFor();
  await wrong.getByRole("listitem").filter({ hasText: "shop/orphan" }).getByText("no ready endpoints").waitFor();
  await tab.shot("overview-light");
  await tab.accessible("the overview");
  await until(() => tab.files.size > 10, "the page's files");
  const bytes = [...tab.files.values()].reduce((sum, each) => sum + each, 0);
  assert.ok(bytes < 300 * 1024, `${bytes} bytes in ${tab.files.size} files`);
}

/** A pod: imports, grants, image digest, use against its limit, and the flag of one without. Row obs.mem-check. */
async function podsTell(tab) {
  const { page } = tab;
  await tab.go("/pods", "Pods");
  const row = (name) => page.getByRole("row").filter({ hasText: name }).first();
  await row("talker-").getByText("no limit").waitFor();
  await row("web-").getByText("/ 64.0 MiB").waitFor();
  await tab.shot("pods-light");
  await tab.accessible("the pods");
  await page.getByRole("button", { name: "Tiles" }).click();
  await page.getByRole("link", { name: /^default\/crasher: .*0\/1 ready/ }).waitFor();
  await tab.accessible("the pods as tiles");
  await page.getByRole("button", { name: "List" }).click();
  await page.getByPlaceholder("Filter by name").fill("app=web");
  await page.getByText("3 of").waitFor();
  await page.getByRole("link", { name: /^web-/ }).first().click();
  await page.getByRole("heading", { level: 1, name: /^web-/ }).waitFor();
  await page.getByText("wasi:http/incoming-handler").waitFor();
  await page.getByText(/^sha256:/).waitFor();
  await page.getByText("api.example.com:443").waitFor();
  await page.getByRole("meter", { name: "memory of web" }).waitFor();
  await tab.accessible("a pod");
  await tab.shot("pod-light");
  await tab.go("/pods/default/crasher", "crasher");
  await page.getByRole("region", { name: "Restarts" }).getByText("exit code 3").first().waitFor();
  await page.getByText("no limit").first().waitFor();
  await page.getByRole("tab", { name: "About" }).focus();
  await page.keyboard.press("ArrowRight");
  await page.getByRole("region", { name: "Events" }).first().getByText("BackOff").first().waitFor();
}

/** Row obs.log-viewer: several pods in one stream, by Service, Deployment and labels, and on they go. */
async function logsStream(tab) {
  const { page } = tab;
  const log = page.getByRole("log", { name: "Log lines" });
  for (const kind of ["Service", "Deployment"]) {
    await tab.go("/logs", "Logs");
    await page.getByRole("button", { name: kind, exact: true }).click();
    await page.getByRole("combobox", { name: kind }).selectOption("default/talker");
    await page.getByText("2 pods").waitFor();
    const sources = () => log.locator(".source").evaluateAll((all) => new Set(all.map((each) => each.textContent)).size);
    await until(async () => (await sources()) === 2, `lines of two pods by ${kind}`);
    const lines = log.locator(".line");
    const before = await lines.count();
    await until(async () => (await lines.count()) > before, "more lines");
  }
  await tab.shot("logs-light");
  await tab.go("/logs?kind=selector&q=app%3Dtalker", "Logs");
  await log.locator(".line").nth(1).waitFor();
  const one = await log.locator(".line .text").first().textContent();
  await page.getByPlaceholder("Filter lines").fill(one);
  await until(async () => (await log.locator(".line:visible").count()) === 1, "one line by its own text");
  await tab.accessible("the logs");
}

/** Scale, restart, pause, undo: with the keyboard where it matters. */
async function workloadsChange(tab) {
  const { page } = tab;
  await tab.go("/workloads", "Workloads");
  await tab.accessible("the workloads");
  await tab.go("/workloads/Deployment/shop/web", "web");
  await page.getByRole("button", { name: "Scale web" }).focus();
  await page.keyboard.press("Enter");
  const replicas = page.getByRole("spinbutton", { name: "Replicas" });
  await replicas.fill("2");
  await tab.accessible("a question");
  await page.keyboard.press("Enter");
  await page.getByText("2 of 2").waitFor();
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("paused", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByRole("button", { name: "Pause" }).waitFor();
  await page.getByRole("tab", { name: "History" }).click();
  await page.getByRole("button", { name: "Go back to revision 1" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Go back" }).click();
  await page.getByRole("row").filter({ hasText: "current" }).getByRole("cell", { name: "3", exact: true }).waitFor();
  await tab.accessible("a history");
  await page.getByRole("button", { name: "Restart web" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Restart" }).click();
  await tab.told("is being restarted");
  await page.getByRole("row").filter({ hasText: "current" }).getByRole("cell", { name: "4", exact: true }).waitFor();
  await page.getByRole("tab", { name: "About" }).click();
  await page.getByText("2 of 2").waitFor();
  await tab.shot("deployment-light");
}

/** Services with endpoints and names; YAML with a comparison before it is applied. */
async function servicesTell(tab) {
  const { page } = tab;
  await tab.go("/services", "Services");
  await page.getByRole("row").filter({ hasText: "web.shop.svc.cluster.local" }).getByText("2 of 2 answer").waitFor();
  await page.getByRole("row").filter({ hasText: "orphan" }).getByText("nobody answers").waitFor();
  await tab.accessible("the Services");
  await tab.go("/services/shop/web", "web");
  await page.getByRole("region", { name: "Endpoints" }).first().getByRole("link", { name: /^web-/ }).first().waitFor();
  await page.getByRole("tab", { name: "YAML" }).click();
  await page.getByRole("button", { name: "Edit" }).click();
  const text = page.getByRole("textbox", { name: "YAML of web" });
  const before = await text.inputValue();
  await text.fill(before.replace("metadata:\n", "metadata:\n  labels:\n    seen: dashboard\n"));
  await page.getByRole("button", { name: "Show changes" }).click();
  await page.getByRole("region", { name: "Changes" }).getByText("seen: dashboard").waitFor();
  await tab.accessible("an editor");
  await tab.shot("yaml-light");
  await page.getByRole("button", { name: "Apply" }).click();
  await tab.told("web applied");
}

/** Row annot.convention: what belongs together, what it is for, whose it is, and what it needs, listed and drawn. */
async function applicationsTell(tab) {
  const { page } = tab;
  await tab.go("/apps", "Applications");
  const shop = page.getByRole("region", { name: "storefront" }).first();
  await shop.getByText("Sells what the talkers praise").waitFor();
  await shop.getByText("shop@example.com").waitFor();
  const row = shop.getByRole("row").filter({ has: page.getByRole("link", { name: "web", exact: true }) });
  for (const [service, words] of [["default/talker", "is there"], ["shop/orphan", "leads to nobody"], ["shop/ghost", "is missing"]]) {
    await row.locator("td > div").filter({ hasText: service }).getByText(words).waitFor();
  }
  const drawn = page.getByRole("img", { name: /Deployment\/shop\/web needs default\/talker, which is there/ });
  await drawn.waitFor();
  await until(async () => (await drawn.locator(".arrow").count()) === 3, "three arrows");
  assert.deepEqual(await drawn.locator(".box text:not(.kind)").evaluateAll((all) => all.map((each) => each.textContent).sort()), ["shop/ghost", "shop/orphan", "talker", "web"]);
  await tab.accessible("the applications");
  await tab.shot("applications-light");
}

/** Services as they are asked, whatever fails of it, by whom, and what they lead to: drawn, listed, and by keyboard. */
async function topologyTells(tab) {
  const { page } = tab;
  const headers = { Authorization: `Bearer ${admin}` };
  const ask = (path) => page.request.get(`${given.url}/api/v1/namespaces/shop/services/asked:80/proxy/${path}`, { headers });
  let asking = true;
  const asked = (async () => {
    while (asking) {
      // Whatever comes of them: they are asked for the sake of the counters.
      await Promise.allSettled([ask("count"), ask("trap")]);
      await new Promise((done) => setTimeout(done, 100));
    }
  })();
  try {
    await tab.go("/topology", "Topology");
    const rows = page.getByRole("region", { name: "Each Service" }).first().getByRole("row");
    const row = (name) => rows.filter({ has: page.locator("td:first-child").getByRole("link", { name, exact: true }) });
    await row("asked").getByText("1 of 1 answer").waitFor();
    await row("asked").locator(".flag").getByText(/^[0-9]+%$/).waitFor();
    await row("asked").getByText(/^[0-9.,]+\/s$/).waitFor();
    await row("asked").getByText("Ingress", { exact: true }).waitFor();
    await row("talker").locator("[data-label='Asked by']").getByRole("link", { name: "web", exact: true }).waitFor();
    await row("ghost").getByText("is missing").waitFor();
    await until(async () => (await page.locator(".map path.arrow").count()) === 4, "the way in, and what web needs");
    await tab.accessible("the topology");
    await tab.shot("topology-light");
    const box = page.getByRole("link", { name: /^asked\s+Service · shop\s+[0-9.,]+\/s, [0-9]+% fail/ });
    await box.press("Enter");
    await page.getByRole("heading", { level: 1, name: "asked" }).waitFor();
  } finally {
    asking = false;
    await asked;
  }
}

/** A shell in a container, over a WebSocket with the token among its protocols. */
async function terminalWorks(tab) {
  const { page } = tab;
  await tab.go("/pods?q=talker", "Pods");
  await page.getByRole("link", { name: /^talker-/ }).first().click();
  await page.getByRole("tab", { name: "Terminal" }).click();
  await page.getByRole("button", { name: "Connect" }).click();
  await page.getByText("connected", { exact: true }).waitFor();
  const screen = page.getByRole("application");
  await screen.click();
  await page.keyboard.type("echo from-$POD_WORD\n");
  await screen.getByText("from-inside", { exact: true }).waitFor();
  await tab.shot("terminal-light");
  await tab.accessible("a terminal");
}

/** The other pages, and every page in the dark. */
async function otherPages(tab) {
  const { page } = tab;
  await tab.go("/network", "Network");
  await page.getByRole("row").filter({ hasText: "only-talkers" }).waitFor();
  const wanted = ["shop/web-", "default/talker-", "default/crasher"];
  let found = [];
  await until(async () => {
    const names = await page.locator("#pod-names option").evaluateAll((all) => all.map((each) => each.value));
    found = wanted.map((start) => names.find((name) => name.startsWith(start)));
    return found.every(Boolean);
  }, "the names of the pods");
  const [web, talker, crasher] = found;
  await page.getByLabel("From").fill(talker);
  await page.getByLabel("To", { exact: true }).fill(web);
  await page.getByText("allowed", { exact: true }).waitFor();
  await page.getByLabel("From").fill(crasher);
  await page.getByText("refused", { exact: true }).waitFor();
  await tab.accessible("the network");
  await tab.go("/tenants", "Tenants");
  await page.getByRole("meter", { name: "pods of shop" }).waitFor();
  await tab.accessible("the tenants");
  await tab.go("/nodes", "Nodes");
  await page.getByRole("link", { name: new RegExp(node) }).getByText("Ready", { exact: true }).waitFor();
  await tab.accessible("the nodes");
  await tab.go(`/nodes/${node}`, node);
  await page.getByText("wasmtime://").waitFor();
  await tab.accessible("a node");
}

/** Dark, and as narrow as a phone. */
async function otherLooks(open) {
  for (const [look, options] of [["dark", { scheme: "dark" }], ["phone", { width: 390, height: 844 }]]) {
    const tab = await open(options);
    await tab.signIn(admin);
    for (const [hash, title] of [["/", "Overview"], ["/pods", "Pods"], ["/workloads", "Workloads"], ["/apps", "Applications"], ["/workloads/Deployment/shop/web", "web"], ["/services", "Services"], ["/topology", "Topology"], ["/nodes", "Nodes"], ["/logs?kind=Service&q=default%2Ftalker", "Logs"], ["/pods/default/crasher", "crasher"]]) {
      await tab.go(hash, title);
      await tab.page.waitForLoadState("domcontentloaded");
      await tab.page.locator("main .loading").first().waitFor({ state: "detached" });
      await tab.fits(`${title} on ${look}`);
      // What differs on a phone is how things are laid out, which three pages have all kinds of.
      if (look === "dark" || ["Overview", "Pods", "Topology"].includes(title)) await tab.accessible(`${title} in ${look}`);
      await tab.shot(`${title.toLowerCase()}-${look}`);
    }
    tab.check();
    await tab.page.close();
  }
}

/** Somebody who may look at one namespace sees that one, and is told of the rest. */
async function rightsAreKept(open) {
  const tab = await open({});
  const { page } = tab;
  await tab.signIn(viewer);
  await page.getByRole("region", { name: "What runs" }).first().getByRole("row", { name: /^web Deployment shop/ }).waitFor();
  assert.equal(await page.getByText("default/crasher").count(), 0);
  await tab.go("/nodes", "Nodes");
  await page.getByText("You may not see nodes").waitFor();
  await tab.go("/workloads/Deployment/shop/web", "web");
  await until(async () => (await page.getByRole("button", { name: "Scale web" }).getAttribute("title")) === "Your roles do not allow this", "the button tells");
  assert.ok(await page.getByRole("button", { name: "Scale web" }).isDisabled());
  await tab.go("/topology", "Topology");
  await page.getByText("You may not see requests").waitFor();
  await page.getByRole("link", { name: /^asked\s+Service · shop/ }).waitFor();
  assert.equal(await page.getByText("kubernetes").count(), 0, "Services of other namespaces");
  await tab.go("/pods?q=web", "Pods");
  await page.getByRole("link", { name: /^web-/ }).first().click();
  await page.getByRole("tab", { name: "Terminal" }).click();
  await page.getByText("You may not run commands").waitFor();
  await tab.shot("rights-light");
  await tab.accessible("what is refused");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Token").waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.getItem("coracle.token")), null);
}

/** Ten thousand pods: the list is the server's form, made up here, because the page is what is tried. */
async function tenThousandPods(open) {
  const tab = await open({});
  const { page } = tab;
  const names = ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node"];
  const all = 10_000;
  await page.route(/\/api\/v1\/pods\?/, async (route) => {
    const query = new URL(route.request().url()).searchParams;
    if (query.get("watch")) return route.fulfill({ status: 200, contentType: "application/json", body: "" });
    const from = Number(query.get("continue") ?? 0);
    const rows = Array.from({ length: Number(query.get("limit")) }, (_, each) => {
      const name = `pod-${String(from + each).padStart(5, "0")}`;
      return { cells: [name, "1/1", "Running", "0", "1m", "10.0.0.1", node], object: { metadata: { name, namespace: "many", uid: name, resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z", labels: {} } } };
    });
    const next = from + rows.length;
    const metadata = { resourceVersion: "1", ...(next < all ? { continue: String(next) } : {}) };
    return route.fulfill({ json: { kind: "Table", metadata, columnDefinitions: names.map((name) => ({ name })), rows } });
  });
  await theirServices(page);
  await tab.signIn(admin);
  await tab.go("/pods", "Pods");
  await page.getByText("10,000 pods").waitFor();
  const body = page.locator(".virtual-body");
  const rows = page.locator(".virtual-inner > .row");
  assert.ok((await rows.count()) < 80, `${await rows.count()} rows`);
  await page.getByText("pod-00000").waitFor();
  const frames = await body.evaluate(async (box) => {
    let count = 0;
    const began = performance.now();
    while (box.scrollTop + box.clientHeight < box.scrollHeight - 1) {
      box.scrollTop += 10_000;
      await new Promise((done) => requestAnimationFrame(done));
      count++;
    }
    return { count, milliseconds: performance.now() - began };
  });
  console.log(`10,000 pods scrolled in ${frames.count} frames, ${(1000 * frames.count / frames.milliseconds).toFixed(0)} a second`);
  await page.getByText("pod-09999").waitFor();
  assert.ok((await rows.count()) < 80);
  await page.getByRole("button", { name: "Tiles" }).click();
  await until(async () => (await page.locator(".tile").count()) > 100, "tiles");
  assert.ok((await page.locator(".tile").count()) < 3000);
  await tab.shot("tiles-light");
  await tab.go("/topology", "Topology");
  await page.getByText(/^60 of 50[0-9] boxes/).waitFor();
  await page.getByRole("link", { name: /^service-321\s+Service · many\s+[0-9.,]+\/s, [0-9]+% fail/ }).waitFor();
  await until(async () => (await page.locator(".map .box").count()) === 60, "sixty boxes");
  await page.getByPlaceholder("Filter by name or host").fill("service-321");
  await page.getByText("1 box", { exact: true }).waitFor();
  await tab.shot("topology-many-light");
}

/** The same pods behind five hundred Services, each asked, and one failing. */
async function theirServices(page) {
  const numbers = Array.from({ length: 500 }, (_, each) => each);
  const metadata = (name, labels) => ({ namespace: "many", name, uid: name, resourceVersion: "1", labels });
  const list = (kind, item) => async (route) => {
    if (new URL(route.request().url()).searchParams.get("watch")) return route.fulfill({ status: 200, contentType: "application/json", body: "" });
    return route.fulfill({ json: { kind, metadata: { resourceVersion: "1" }, items: numbers.map(item) } });
  };
  const podOf = (service, each) => `pod-${String(service * 20 + each).padStart(5, "0")}`;
  await page.route(/\/api\/v1\/services\?/, list("ServiceList", (each) => ({ metadata: metadata(`service-${each}`), spec: { type: "ClusterIP", selector: { app: String(each) } } })));
  await page.route(/endpointslices\?/, list("EndpointSliceList", (each) => ({ metadata: metadata(`slice-${each}`, { "kubernetes.io/service-name": `service-${each}` }),
    endpoints: Array.from({ length: 20 }, (_, at) => ({ addresses: ["10.0.0.1"], conditions: { ready: true }, targetRef: { kind: "Pod", name: podOf(each, at) } })) })));
  let asked = 0;
  await page.route(/proxy\/metrics\/cadvisor\?/, (route) => {
    asked += 10;
    const line = (service, at, code) => `coracle_http_requests_total{container="c",namespace="many",pod="${podOf(service, at)}",code="${code}"} ${asked} 1`;
    return route.fulfill({ contentType: "text/plain", body: [...numbers.flatMap((each) => Array.from({ length: 20 }, (_, at) => line(each, at, "2xx"))), line(321, 0, "5xx")].join("\n") });
  });
}

/** Row obs.node-view: a host that was stopped is red, and its tooltip says NotReady and since when. */
async function nodeIsRed(open) {
  const tab = await open({});
  const { page } = tab;
  await tab.signIn(admin);
  await tab.go("/nodes", "Nodes");
  const tile = page.locator(".node-tile.bad");
  await tile.waitFor();
  await until(async () => {
    const [red, green] = await tile.evaluate((box) => getComputedStyle(box).borderTopColor.match(/\d+/g).map(Number));
    return red > 150 && green < 90;
  }, "the tile is red");
  await tile.hover();
  const tip = page.getByRole("tooltip");
  await tip.filter({ hasText: /: NotReady since .*20\d\d/ }).waitFor();
  await until(async () => (await tip.evaluate((box) => getComputedStyle(box).visibility)) === "visible", "the tooltip shows");
  await tab.shot("node-notready-light");
  await tab.accessible("a map with a node that is not ready");
  await tab.go("/", "Overview");
  await page.getByRole("region", { name: "What is wrong" }).getByRole("listitem").filter({ hasText: `Node${node}` }).getByText("NotReady").waitFor();
}

await withBrowser(async (open) => {
  if (given.part === "node") return nodeIsRed(open);
  const tab = await open({});
  const steps = [signingIn, overviewTells, podsTell, logsStream, workloadsChange, servicesTell, applicationsTell, topologyTells, terminalWorks, otherPages];
  for (const step of steps) {
    const began = Date.now();
    await step(tab);
    console.log(`${step.name}: ${Date.now() - began} ms`);
  }
  for (const step of [otherLooks, rightsAreKept, tenThousandPods]) {
    const began = Date.now();
    await step(open);
    console.log(`${step.name}: ${Date.now() - began} ms`);
  }
});
