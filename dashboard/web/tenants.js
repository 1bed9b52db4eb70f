// Namespaces as tenants: what each has, uses, and may have.

import { call, path } from "./api.js";
import { h } from "./dom.js";
import { bytes, cores, quantity } from "./format.js";
import { follow, poll } from "./live.js";
import { podHealth } from "./model.js";
import { card, head, meter, since, stack, table, trouble, chip } from "./parts.js";
import { redraw, scope, setNamespace, go } from "./state.js";
import { useOf } from "./pods.js";

const USE_EVERY_MS = 15_000;

/** Makes the page. */
export function tenants() {
  const namespaces = follow("namespaces", "", redraw);
  const quotas = follow("quotas", scope.namespace, redraw);
  const pods = follow("pods", scope.namespace, redraw);
  const use = poll(USE_EVERY_MS, () => call(path("metrics.k8s.io/v1beta1", "pods", scope.namespace)), redraw);

  function rows() {
    const all = new Map();
    const row = (name) => {
      if (!all.has(name)) all.set(name, { name, pods: [], cpu: 0, memory: 0, created: "", policy: "" });
      return all.get(name);
    };
    for (const { metadata } of namespaces.list) {
      if (scope.namespace && metadata.name !== scope.namespace) continue;
      Object.assign(row(metadata.name), { created: metadata.creationTimestamp, policy: metadata.labels?.["pod-security.kubernetes.io/enforce"] ?? "" });
    }
    for (const pod of pods.list) row(pod.namespace).pods.push(pod);
    for (const [key, { cpu, memory }] of useOf(use.value)) {
      const own = row(key.split("/")[0]);
      own.cpu += cpu;
      own.memory += memory;
    }
    return [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  function parts(own) {
    const counts = { ok: 0, wait: 0, warn: 0, bad: 0, done: 0 };
    for (const pod of own) counts[podHealth(pod)]++;
    return Object.entries(counts).map(([health, count]) => ({ health, count, word: chip(health).kids[1] }));
  }

  function quotaMeters(quota) {
    const hard = quota.status?.hard ?? quota.spec.hard ?? {};
    return Object.entries(hard).map(([name, limit]) => {
      const now = quota.status?.used?.[name] ?? "0";
      return h("div", { class: "quota", key: name }, h("span", { class: "mono" }, name), meter(`${name} of ${quota.metadata.namespace}`, quantity(now), quantity(limit), `${now} / ${limit}`));
    });
  }

  function view() {
    return [
      head("Tenants", { note: "What each namespace uses, and what its quota allows." }),
      card("Namespaces", { wide: true }, trouble([pods], "pods") ?? table("Namespaces", [
        ["Namespace", (each) => h("a", { href: "#/pods", onclick: (event) => { event.preventDefault(); setNamespace(each.name); go("#/pods"); } }, each.name)],
        ["Pods", (each) => [each.pods.length, stack(`Pods of ${each.name}`, parts(each.pods))]],
        ["CPU", (each) => cores(each.cpu), "num"],
        ["Memory", (each) => bytes(each.memory), "num"],
        ["Pod Security", (each) => each.policy || "–"],
        ["Age", (each) => since(each.created), "num"],
      ], rows(), { keyOf: (each) => each.name })),
      card("Quotas", { wide: true }, trouble([quotas], "quotas") ?? (quotas.list.length === 0 ? h("p", { class: "empty" }, "No ResourceQuota anywhere: namespaces take what there is.")
        : h("div", { class: "cards two" }, quotas.list.map((quota) => h("div", { class: "figure", key: quota.metadata.uid }, h("h3", null, `${quota.metadata.namespace} / ${quota.metadata.name}`), quotaMeters(quota)))))),
    ];
  }

  return { title: "Tenants", view, close: () => [namespaces, quotas, pods, use].forEach((each) => each.close()) };
}
