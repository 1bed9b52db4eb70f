// The Lease of sdk/javascript/kube.js against an API and a clock that are made up here, in Node: what a guest imports of its
// host is put in its place.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

/** Who waits for the clock. */
const sleepers = [];
globalThis.host = {
  sleep: () => new Promise((wake) => sleepers.push(wake)),
  fetch: undefined,
  readText: undefined,
  decode: undefined,
};
performance.now = () => 0;

const sdk = readFileSync(new URL("../../../sdk/javascript/kube.js", import.meta.url), "utf8");
const source = `const { sleep, fetch, readText, decode } = globalThis.host;\n${sdk.replace(/^import .*$/gm, "")}`;
const { Lease } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

/** An API that has one Lease. */
class Api {
  namespace = "default";
  writes = 0;
  lease = undefined;
  async get() {
    if (this.lease === undefined) throw Object.assign(new Error("not found"), { code: 404 });
    return structuredClone(this.lease);
  }
  async create(_path, lease) {
    return this.replace(_path, lease);
  }
  async replace(_path, lease) {
    this.writes += 1;
    this.lease = structuredClone(lease);
    this.lease.metadata.resourceVersion = `${this.writes}`;
    return structuredClone(this.lease);
  }
}

/** All that can go on does, then whoever sleeps wakes, and goes on too. */
async function pass() {
  await new Promise(setImmediate);
  sleepers.splice(0).forEach((wake) => wake());
  await new Promise(setImmediate);
}

/** Leads until `end` is called on what the work is; then nothing more is written, and nobody waits for anything. */
async function check(end, expected) {
  const api = new Api();
  let work;
  const led = new Lease(api, "lease", "me").lead(() => new Promise((...both) => (work = both)));
  const said = led.then(
    (value) => `did ${value}`,
    (error) => `failed: ${error.message}`,
  );
  await pass();
  assert.equal(api.lease.spec.holderIdentity, "me");
  const taken = api.writes;
  await pass();
  await pass();
  assert.ok(api.writes > taken, "it is renewed while the work goes on");
  end(...work);
  assert.equal(await said, expected);
  const written = api.writes;
  for (let times = 0; times < 5; times += 1) await pass();
  assert.equal(api.writes, written, "it is not renewed after the work");
  assert.equal(sleepers.length, 0);
}

await check((resolve) => resolve("it"), "did it");
await check((_resolve, reject) => reject(new Error("no")), "failed: no");
