// Create, list, patch, inform, run a command and delete with the official JavaScript client.
// Arguments: a kubeconfig, and a running pod with a shell. Fails with a stack trace.

import assert from "node:assert/strict";
import { PassThrough, Writable } from "node:stream";
import {
  AppsV1Api, CoreV1Api, Exec, KubeConfig, Log, PatchStrategy, makeInformer, setHeaderOptions,
} from "@kubernetes/client-node";

const [kubeconfig, pod] = process.argv.slice(2);
const config = new KubeConfig();
config.loadFromFile(kubeconfig);
const core = config.makeApiClient(CoreV1Api);
const apps = config.makeApiClient(AppsV1Api);
const namespace = "default";
const labelSelector = "app=node";

/** What is written to it, and a stream to write to. */
function collected() {
  const pieces = [];
  const stream = new Writable({ write: (piece, _, done) => (pieces.push(piece), done()) });
  return { stream, text: () => Buffer.concat(pieces).toString() };
}

/** Waits for what an informer says next. */
function next(informer, event) {
  return new Promise((resolve, reject) => {
    informer.on(event, resolve);
    informer.on("error", reject);
  });
}

const list = () => core.listNamespacedConfigMap({ namespace, labelSelector });
const path = `/api/v1/namespaces/${namespace}/configmaps`;
const informer = makeInformer(config, path, list, labelSelector);
const [added, changed, gone] = ["add", "update", "delete"].map((event) => next(informer, event));
await informer.start();

const body = { metadata: { name: "node", labels: { app: "node" } }, data: { key: "value" } };
const created = await core.createNamespacedConfigMap({ namespace, body });
assert.ok(created.metadata.uid && created.metadata.resourceVersion);
assert.equal((await added).metadata.name, "node");
assert.deepEqual((await list()).items.map((item) => item.metadata.name), ["node"]);

const merge = setHeaderOptions("Content-Type", PatchStrategy.MergePatch);
const patch = { data: { key: "changed" } };
await core.patchNamespacedConfigMap({ name: "node", namespace, body: patch }, merge);
assert.equal((await changed).data.key, "changed");

const apply = setHeaderOptions("Content-Type", PatchStrategy.ServerSideApply);
const applied = await apps.patchNamespacedDeployment({
  name: "node", namespace, fieldManager: "node",
  body: {
    apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "node" },
    spec: {
      replicas: 0, selector: { matchLabels: { app: "node" } },
      template: { metadata: { labels: { app: "node" } }, spec: { containers: [{ name: "c", image: "none" }] } },
    },
  },
}, apply);
assert.equal(applied.spec.strategy.type, "RollingUpdate");
await apps.deleteNamespacedDeployment({ name: "node", namespace });

const [out, errors, input] = [collected(), collected(), new PassThrough()];
const status = await new Promise((resolve, reject) => {
  new Exec(config)
    .exec(namespace, pod, "tools", ["sh", "-c", "read x; echo got $x; echo bad >&2; exit 7"],
      out.stream, errors.stream, input, false, resolve)
    .catch(reject);
  input.end("word\n");
});
assert.equal(status.status, "Failure");
assert.equal(status.details.causes.find((cause) => cause.reason === "ExitCode").message, "7");
assert.deepEqual([out.text(), errors.text()], ["got word\n", "bad\n"]);

const log = new PassThrough();
await new Log(config).log(namespace, pod, "tools", log, { follow: false });
let said = "";
for await (const piece of log) said += piece;
assert.equal(said, "begun\n");

await core.deleteNamespacedConfigMap({ name: "node", namespace });
assert.equal((await gone).metadata.name, "node");
await informer.stop();
await assert.rejects(core.readNamespacedConfigMap({ name: "node", namespace }), { code: 404 });
console.log("node client: ok");
process.exit(0);
