// What Headlamp asks of a cluster, request by request as its sources make them, from a browser: it comes as a container
// image that nobody can unpack here, so its own pages are not opened. See tests/e2e/tests/dashboard.rs.
//
// Source: kubernetes-sigs/headlamp, frontend/src/lib/k8s: `api/v1/clusterRequests`, `api/v1/streamingApi`, `api/v1/scaleApi`,
// `api/v2/apiDiscovery`, `api/v2/webSocket`, `api/v2/hooks`, `pod`, `node`, `KubeObject`. Its backend passes on what the page
// asks, with the user's token as a header; of a WebSocket the browser says it here among the protocols.

import assert from "node:assert/strict";
import { PATIENCE_MS, given, withBrowser } from "./browser.mjs";

/** What its pages list, by group and version. */
const LISTS = {
  "api/v1": ["configmaps", "endpoints", "events", "limitranges", "namespaces", "nodes", "persistentvolumeclaims", "persistentvolumes", "pods", "resourcequotas", "secrets", "serviceaccounts", "services"],
  "apis/admissionregistration.k8s.io/v1": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
  "apis/apiextensions.k8s.io/v1": ["customresourcedefinitions"],
  "apis/apps/v1": ["controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"],
  "apis/autoscaling/v2": ["horizontalpodautoscalers"],
  "apis/batch/v1": ["cronjobs", "jobs"],
  "apis/coordination.k8s.io/v1": ["leases"],
  "apis/discovery.k8s.io/v1": ["endpointslices"],
  "apis/metrics.k8s.io/v1beta1": ["nodes", "pods"],
  "apis/networking.k8s.io/v1": ["ingressclasses", "ingresses", "networkpolicies"],
  "apis/node.k8s.io/v1": ["runtimeclasses"],
  "apis/policy/v1": ["poddisruptionbudgets"],
  "apis/rbac.authorization.k8s.io/v1": ["clusterrolebindings", "clusterroles", "rolebindings", "roles"],
  "apis/scheduling.k8s.io/v1": ["priorityclasses"],
  "apis/storage.k8s.io/v1": ["storageclasses"],
};
const AGGREGATED = "application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList";
/** What it offers on every WebSocket, and besides on one for a terminal. */
const STREAM = ["base64.binary.k8s.io"];
const TERMINAL = [...STREAM, "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
const MERGE = "application/merge-patch+json";

let page;

/** A request of the page; gives { status, body }. */
async function ask(path, { method = "GET", body, type = "application/json", accept = "application/json" } = {}) {
  const headers = { Authorization: `Bearer ${given.admin}`, Accept: accept, "Content-Type": type };
  return page.evaluate(async ([to, options]) => {
    const answer = await fetch(to, options);
    const text = await answer.text();
    try {
      return { status: answer.status, body: JSON.parse(text) };
    } catch {
      return { status: answer.status, body: text };
    }
  }, [path, { method, headers, body: body && JSON.stringify(body) }]);
}

async function good(path, options) {
  const { status, body } = await ask(path, options);
  assert.ok(status >= 200 && status < 300, `${options?.method ?? "GET"} ${path}: ${status} ${JSON.stringify(body)}`);
  return body;
}

/** A WebSocket of the page: its protocol, and what it has said until `enough` of it; `say` goes out first. */
async function listen(path, protocols, enough, say) {
  const id = `socket${Math.random()}`;
  const token = Buffer.from(given.admin).toString("base64url");
  const protocol = await page.evaluate(([name, to, offered, first]) => new Promise((done, fail) => {
    const open = new WebSocket(`wss://${location.host}${to}`, offered);
    open.binaryType = "arraybuffer";
    window[name] = { open, said: [] };
    open.onmessage = ({ data }) => window[name].said.push(typeof data === "string" ? data : Array.from(new Uint8Array(data)));
    open.onerror = () => fail(new Error(`no WebSocket at ${to}`));
    open.onopen = () => {
      if (first) open.send(new Uint8Array(first));
      done(open.protocol);
    };
  }), [id, path, [...protocols, `base64url.bearer.authorization.k8s.io.${token}`], say]);
  const close = () => page.evaluate((name) => window[name].open.close(), id);
  const until = async () => {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      const said = await page.evaluate((name) => window[name].said, id);
      if (enough(said)) return said;
      if (Date.now() > end) throw new Error(`not within ${PATIENCE_MS} ms on ${path}: ${JSON.stringify(said).slice(0, 500)}`);
      await new Promise((done) => setTimeout(done, 100));
    }
  };
  return { protocol, until, close };
}

/** It signs in, and learns what there is. */
async function itComes() {
  assert.match((await good("/version")).gitVersion, /^v1\.35/);
  assert.equal(await good("/healthz"), "ok");
  const rules = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectRulesReview", spec: { namespace: "default" } };
  assert.ok((await good("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", { method: "POST", body: rules })).status.resourceRules.length > 0);
  const spec = { resourceAttributes: { group: "apps", resource: "deployments", verb: "update", namespace: "shop", name: "asked" } };
  const review = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec };
  assert.equal((await good("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", { method: "POST", body: review })).status.allowed, true);
  for (const root of ["/api", "/apis"]) {
    const found = await good(root, { accept: AGGREGATED });
    assert.equal(found.kind, "APIGroupDiscoveryList");
    assert.ok(found.items.every((group) => group.versions.every((each) => each.resources.length > 0)), root);
  }
  const { groups } = await good("/apis");
  for (const { groupVersion } of groups.flatMap((group) => group.versions)) {
    assert.equal((await good(`/apis/${groupVersion}`)).groupVersion, groupVersion);
  }
}

/** Every page lists, and follows what it has listed; a change is shown. */
async function itLists() {
  const versions = new Map();
  for (const [group, plurals] of Object.entries(LISTS)) {
    for (const plural of plurals) {
      const { kind, items, metadata } = await good(`/${group}/${plural}`);
      assert.ok(kind.endsWith("List") && Array.isArray(items), `${group}/${plural}: ${kind}`);
      versions.set(`/${group}/${plural}`, metadata.resourceVersion);
    }
  }
  const path = "/apis/apps/v1/deployments";
  const events = await listen(`${path}?watch=1&resourceVersion=${versions.get(path)}`, STREAM, (said) => said.some((each) => {
    const { type, object } = JSON.parse(each);
    return type === "MODIFIED" && object.metadata.labels?.seen === "headlamp";
  }));
  assert.equal(events.protocol, "base64.binary.k8s.io");
  await good("/apis/apps/v1/namespaces/shop/deployments/asked", { method: "PATCH", type: MERGE, body: { metadata: { labels: { seen: "headlamp" } } } });
  await events.until();
  await events.close();
  const one = await listen(`/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3Dshop`, STREAM, (said) => said.length > 0);
  const [first] = await one.until();
  assert.equal(JSON.parse(first).object.metadata.name, "shop");
  await one.close();
}

/** A pod's page: its log and a terminal; a node's: what it uses. */
async function itLooksInside() {
  const { items } = await good("/api/v1/namespaces/default/pods?labelSelector=app%3Dtalker");
  const pod = `/api/v1/namespaces/default/pods/${items.find((each) => each.status.phase === "Running").metadata.name}`;
  const plain = (said) => said.map((each) => Buffer.from(each, "base64").toString()).join("");
  const log = await listen(`${pod}/log?container=say&previous=false&timestamps=true&follow=true&tailLines=100`, STREAM, (said) => /Z line \d+ of talker/.test(plain(said)));
  await log.until();
  await log.close();
  const typed = [0, ...Buffer.from("echo from-$POD_WORD\n")];
  const printed = (said) => said.filter((each) => each[0] === 1).map((each) => Buffer.from(each.slice(1)).toString()).join("");
  const shell = await listen(`${pod}/exec?container=say&command=sh&stdin=1&stderr=1&stdout=1&tty=1`, TERMINAL, (said) => printed(said).includes("from-inside"), typed);
  assert.equal(shell.protocol, "v4.channel.k8s.io");
  await shell.until();
  await shell.close();
  const { node } = await good(`/api/v1/nodes/${given.node}/proxy/stats/summary`);
  assert.equal(node.nodeName, given.node);
}

/** Its buttons: scale, restart, edit, roll back, cordon, create, delete. */
async function itChanges() {
  const path = "/apis/apps/v1/namespaces/shop/deployments/asked";
  await good(`${path}/scale`, { method: "PATCH", type: MERGE, body: { spec: { replicas: 2 } } });
  assert.equal((await good(`${path}/scale`)).spec.replicas, 2);
  const annotations = { "kubectl.kubernetes.io/restartedAt": new Date().toISOString() };
  await good(path, { method: "PATCH", type: MERGE, body: { spec: { template: { metadata: { annotations } } } } });
  const now = await good(path);
  const before = now.spec.template;
  assert.deepEqual(now.spec.template.metadata.annotations["kubectl.kubernetes.io/restartedAt"], annotations["kubectl.kubernetes.io/restartedAt"]);
  // Its editor puts what it has read; what has changed meanwhile is a conflict, and it reads again.
  for (let last; last !== 200;) {
    const read = await good(path);
    last = (await ask(path, { method: "PUT", body: { ...read, metadata: { ...read.metadata, labels: { ...read.metadata.labels, edited: "yes" } } } })).status;
    assert.ok([200, 409].includes(last), `${last}`);
  }
  await good(path, { method: "PATCH", type: "application/json-patch+json", body: [{ op: "replace", path: "/spec/template", value: before }] });
  for (const unschedulable of [true, false]) {
    await good(`/api/v1/nodes/${given.node}`, { method: "PATCH", type: MERGE, body: { spec: { unschedulable } } });
  }
  const map = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "headlamp", namespace: "shop" }, data: { a: "b" } };
  await good("/api/v1/namespaces/shop/configmaps?dryRun=All", { method: "POST", body: map });
  await good("/api/v1/namespaces/shop/configmaps", { method: "POST", body: map });
  assert.equal((await ask("/api/v1/namespaces/shop/configmaps", { method: "POST", body: map })).status, 409, "then it puts");
  await good("/api/v1/namespaces/shop/configmaps/headlamp", { method: "PUT", body: { ...map, data: { a: "c" } } });
  await good("/api/v1/namespaces/shop/configmaps/headlamp", { method: "DELETE" });
}

await withBrowser(async (open) => {
  const tab = await open({});
  page = tab.page;
  await page.goto(`${given.url}/ui/`);
  for (const step of [itComes, itLists, itLooksInside, itChanges]) {
    const began = Date.now();
    await step();
    console.log(`${step.name}: ${Date.now() - began} ms`);
  }
});
