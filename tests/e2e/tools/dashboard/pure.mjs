// The page's pure rules, without a browser: node pure.mjs '{"web": "FOLDER"}'.

import assert from "node:assert/strict";
import path from "node:path";
import { pathToFileURL } from "node:url";

const given = JSON.parse(process.argv[2]);
const load = (name) => import(pathToFileURL(path.join(given.web, name)));

// What modules expect of a browser when they are loaded.
globalThis.sessionStorage = { getItem: () => null, setItem() {}, removeItem() {} };
globalThis.localStorage = globalThis.sessionStorage;
const { age, bytes, cores, quantity } = await load("format.js");
const { compare, editable, toYaml } = await load("yaml.js");
const { matches, podHealth, problems, selectorText, selects, workloadOf } = await load("model.js");
const { appOf, applications, depths, links, needs } = await load("depend.js");
const { Screen } = await load("terminal.js");
const { verdict } = await load("network.js");

const check = (name, found, expected) => assert.deepEqual(found, expected, name);

// Numbers and times.
check("quantities", ["1", "250m", "64Mi", "2k", "1e3", "5n", "1.5Gi"].map(quantity), [1, 0.25, 67108864, 2000, 1000, 5e-9, 1610612736]);
assert.ok([undefined, "", "x", "1Q"].every((text) => Number.isNaN(quantity(text))));
check("bytes", [0, 1023, 1536, 64 * 2 ** 20].map(bytes), ["0 B", "1023 B", "1.5 KiB", "64.0 MiB"]);
check("cores", [0, 2e-6, 0.25, 1.5, NaN].map(cores), ["0", "2µ", "250m", "1.50", "–"]);
const now = Date.parse("2026-01-10T00:00:00Z");
check("ages", ["2026-01-09T23:59:55Z", "2026-01-09T23:55:00Z", "2026-01-09T20:00:00Z", "2026-01-01T00:00:00Z"].map((each) => age(each, now)), ["5s", "5m", "4h", "9d"]);

// YAML: every value is what it was when the server reads it.
const object = { apiVersion: "v1", metadata: { name: "a", managedFields: [1], uid: "u" }, data: { yes: "true", n: "12", text: "two\nlines\n", empty: "", list: [{ a: 1, b: ["x: y"] }, []] }, status: {} };
check("yaml", toYaml(editable(object)).slice(1), `apiVersion: v1
metadata:
  name: a
data:
  "yes": "true"
  "n": "12"
  text: |
    two
    lines
  empty: ""
  list:
  - a: 1
    b:
    - "x: y"
  - []
`);
check("comparison", compare("a\nb\nc\nd", "a\nx\nc\ne"), [[" ", "a"], ["-", "b"], ["+", "x"], [" ", "c"], ["-", "d"], ["+", "e"]]);
check("no change", compare("a\nb", "a\nb").every(([mark]) => mark === " "), true);

// What objects mean.
const pod = (more) => ({ namespace: "n", name: "p", uid: "u", labels: {}, owner: null, created: "2026-01-01T00:00:00Z", deleting: false, ready: "1/1", status: "Running", node: "h", ...more });
check("health", [{}, { ready: "0/1" }, { status: "Pending" }, { status: "CrashLoopBackOff" }, { status: "Init:CrashLoopBackOff" }, { status: "Init:0/1" }, { status: "Completed" }, { status: "OOMKilled" }].map((more) => podHealth(pod(more))),
  ["ok", "warn", "wait", "bad", "bad", "wait", "done", "bad"]);
check("owner", workloadOf(pod({ owner: { kind: "ReplicaSet", name: "web-abc" }, labels: { "pod-template-hash": "abc" } })), "Deployment/web");
check("an empty selector of a Service has nobody", selects({}, { a: "b" }), false);
check("an empty LabelSelector has all", matches({}, { a: "b" }), true);
const expressions = { matchLabels: { a: "b" }, matchExpressions: [{ key: "c", operator: "NotIn", values: ["d"] }, { key: "e", operator: "Exists" }] };
check("selector", [selectorText(expressions), matches(expressions, { a: "b", e: "" }), matches(expressions, { a: "b", c: "d", e: "" })], ["a=b,c notin (d),e", true, false]);
const node = { metadata: { name: "h" }, status: { conditions: [{ type: "Ready", status: "Unknown", lastTransitionTime: "2026-01-09T23:59:00Z", message: "silent" }] } };
const service = { metadata: { namespace: "n", name: "s" }, spec: { selector: { app: "x" } } };
const wrong = problems({ nodes: [node], pods: [pod({ status: "Error" }), pod({})], workloads: [], services: [service], slices: [], now });
check("problems", wrong.map((each) => `${each.kind} ${each.what}`), ["Node NotReady for 60s", "Pod Error", "Service no ready endpoints"]);

// NetworkPolicy: nobody is shut in without one; with one, only what a rule lets through.
const policy = { metadata: { name: "p", namespace: "n" }, spec: { podSelector: {}, policyTypes: ["Ingress"], ingress: [{ from: [{ podSelector: { matchLabels: { app: "a" } } }], ports: [{ port: 80 }] }] } };
const [a, b] = [pod({ name: "a", labels: { app: "a" } }), pod({ name: "b", labels: { app: "b" } })];
const asked = (policies, from, port) => verdict("Ingress", policies, pod({}), from, port, new Map()).allowed;
check("verdicts", [asked([], b, 80), asked([policy], a, 80), asked([policy], a, 81), asked([policy], b, 80)], [true, true, false, false]);

// Applications and what they need.
const made = (name, { labels, pods, annotations, namespace = "n" } = {}) => ({ kind: "Deployment", object: { metadata: { name, namespace, labels, annotations }, spec: { template: { metadata: { labels: pods } } } } });
const front = made("front", { labels: { "app.kubernetes.io/part-of": "shop", app: "x" }, annotations: { "coracle.dev/depends-on": "stock, mail.post  kubernetes,stock ghost" } });
const stock = made("stock", { pods: { app: "shop" }, annotations: { "coracle.dev/depends-on": "front" } });
const [lone, mail] = [made("lone"), made("mail", { namespace: "post", pods: { app: "mail" } })];
check("apps", [front, stock, lone].map(({ object }) => appOf(object)), ["shop", "shop", "lone"]);
check("needs", needs(front.object), ["n/stock", "post/mail", "default/kubernetes", "n/ghost"]);
check("groups", applications([stock, lone, mail, front]).map(({ key, parts }) => [key, parts.map(({ object }) => object.metadata.name)]), [["n/lone", ["lone"]], ["n/shop", ["front", "stock"]], ["post/mail", ["mail"]]]);
const named = (namespace, name, selector) => ({ metadata: { namespace, name }, spec: { selector } });
const needed = links([front, stock, lone, mail], [named("n", "stock", { app: "shop" }), named("post", "mail", { app: "gone" }), named("default", "kubernetes")]);
check("links", needed.map(({ service, state, by }) => [service, state, by]), [["n/stock", "ok", ["Deployment/n/stock"]], ["post/mail", "nobody", []], ["default/kubernetes", "ok", []], ["n/ghost", "missing", []], ["n/front", "missing", []]]);
check("depths, in a ring, too", [...depths(["a", "b", "c"], [["a", "b"], ["b", "c"], ["c", "b"]])], [["a", 0], ["c", 0], ["b", 1]]);

// The map of Services: ways in, needs, what nobody is behind, and what a rate makes worth a drawing.
const { backendsOf, graphOf, hostsOf, rowsOf, worthDrawing } = await load("graph.js");
const ingress = { metadata: { namespace: "n", name: "in" }, spec: { defaultBackend: { service: { name: "stock" } }, rules: [{ host: "a.example", http: { paths: [{ backend: { service: { name: "stock" } } }, { backend: {} }] } }, {}] } };
const route = { metadata: { namespace: "n", name: "in" }, spec: { hostnames: ["b.example"], rules: [{ backendRefs: [{ name: "stock", weight: 9 }, { name: "mail", namespace: "post" }, { kind: "Other", name: "x" }] }, {}] } };
check("backends", [backendsOf("Ingress", ingress), backendsOf("HTTPRoute", route), backendsOf("HTTPRoute", { metadata: {} })], [["n/stock"], ["n/stock", "post/mail"], []]);
check("hosts", [hostsOf("Ingress", ingress), hostsOf("HTTPRoute", route)], [["a.example"], ["b.example"]]);
const slice = (name, ...ready) => ({ metadata: { namespace: "n", labels: { "kubernetes.io/service-name": name } }, endpoints: ready.map((each, at) => ({ addresses: [`10.0.0.${at}`], conditions: { ready: each }, targetRef: { kind: "Pod", name: `${name}-${at}` } })) });
const map = graphOf({
  services: [named("n", "stock", { app: "shop" }), named("post", "mail", { app: "gone" }), named("default", "kubernetes")],
  slices: [slice("stock", true, false)], workloads: [front, stock, lone, mail].map((each) => ({ ...each })),
  ways: [{ kind: "Ingress", object: ingress }],
});
const boxNamed = (key) => map.boxes.find((box) => box.key === key);
check("boxes", map.boxes.map(({ key, health, words }) => [key, health, words]), [
  ["Service/n/stock", "warn", "1 of 2 answer"], ["Service/post/mail", "warn", "nobody answers"], ["Service/default/kubernetes", "wait", "by hand"],
  ["Ingress/n/in", "done", "a.example"], ["Deployment/n/front", "bad", "has no Service"], ["Service/n/ghost", "bad", "is missing"], ["Service/n/front", "bad", "is missing"],
]);
check("pods and workloads behind", [boxNamed("Service/n/stock").pods, boxNamed("Service/n/stock").by.map(({ key }) => key)], [["n/stock-0", "n/stock-1"], ["Deployment/n/stock"]]);
check("arrows", map.arrows, [
  ["Ingress/n/in", "Service/n/stock", "warn"], ["Deployment/n/front", "Service/n/stock", "warn"], ["Deployment/n/front", "Service/post/mail", "warn"],
  ["Deployment/n/front", "Service/default/kubernetes", "ok"], ["Deployment/n/front", "Service/n/ghost", "bad"], ["Service/n/stock", "Service/n/front", "bad"],
]);
const rated = (rates) => worthDrawing(map, 2, ({ key }) => rates[key] ?? null);
check("what fails is drawn first", rated({ "Service/default/kubernetes": { all: 9, failed: 1 } }).boxes.map(({ key }) => key), ["Service/default/kubernetes", "Deployment/n/front"]);
check("arrows to what is not drawn are left out", rated({}).arrows, [["Deployment/n/front", "Service/n/ghost", "bad"]].filter(([, to]) => rated({}).boxes.some(({ key }) => key === to)));
const many = Array.from({ length: 10_000 }, (_, at) => named("many", `s-${String(at).padStart(5, "0")}`, { app: `a${at}` }));
check("ten thousand Services make sixty boxes", worthDrawing(graphOf({ services: many, slices: [], workloads: [], ways: [] }), 60, () => null).boxes.length, 60);
check("rows", rowsOf(["a", "b", "c", "d", "e"], [["a", "d"], ["c", "e"]], 2, depths), [["a", "c"], ["d", "e"], ["b"]]);
check("rows of nothing", rowsOf([], [], 3, depths), []);

// Traffic.
const { countsOf, ratesOf, perSecond } = await load("traffic.js");
const counted = (ok, bad) => countsOf(`# TYPE coracle_http_requests_total counter
coracle_http_requests_total{container="c",namespace="n",pod="p",code="2xx"} ${ok} 17
coracle_http_requests_total{container="c",namespace="n",pod="p",code="5xx"} ${bad} 17
`);
check("rates", ratesOf(counted(10, 0), counted(25, 5), 10).get("n/p"), { all: 2, failed: 0.5 });
check("a pod that began anew", ratesOf(counted(100, 0), counted(20, 0), 10).get("n/p"), { all: 2, failed: 0 });
check("rates in words", [0, 0.25, 1234.5].map(perSecond), ["0/s", "0.3/s", "1,235/s"]);

// The terminal.
const shown = (text, more = "") => {
  const screen = new Screen(20, 4);
  screen.write(text);
  if (more) screen.write(more);
  return screen.text();
};
check("lines", shown("a\r\nb"), "a\nb");
check("over again", shown("abc\rX"), "Xbc");
check("back", shown("abc\b\bX"), "aXc");
check("wrap", shown("x".repeat(25)), `${"x".repeat(20)}\n${"x".repeat(5)}`);
check("erase", shown("abc\x1b[2D\x1b[K"), "a");
check("clear", shown("a\r\nb\x1b[2J\x1b[Hc"), "c\n");
check("colours are no text", shown("\x1b[1;31mred\x1b[0m"), "red");
check("a sequence in two pieces", shown("a\x1b[", "31mb"), "ab");
check("titles are no text", shown("\x1b]0;title\x07x"), "x");
console.log("the page's pure rules hold");
