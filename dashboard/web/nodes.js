// The hosts: a map of tiles, and a page each.

import { call, may, path } from "./api.js";
import { h } from "./dom.js";
import { bytes, cores, count, moment, percent, quantity } from "./format.js";
import { follow, poll } from "./live.js";
import { nodeHealth, podHealth, podLink, tally } from "./model.js";
import { ask, attempt, button, card, chip, eventTable, facts, head, labels, meter, since, stack, table, tabs, trouble } from "./parts.js";
import { go, redraw } from "./state.js";
import { yamlEditor } from "./yaml.js";

const USE_EVERY_MS = 10_000;

function usage() {
  return poll(USE_EVERY_MS, () => call(path("metrics.k8s.io/v1beta1", "nodes")), redraw);
}

function used(use, name, what) {
  const found = use.value?.items.find((each) => each.metadata.name === name);
  return found ? quantity(found.usage[what]) : NaN;
}

/** Makes the map. */
export function nodes() {
  const live = follow("nodes", "", redraw);
  const pods = follow("pods", "", redraw);
  const use = usage();

  function view() {
    const byNode = new Map();
    for (const pod of pods.list) {
      if (!byNode.has(pod.node)) byNode.set(pod.node, []);
      byNode.get(pod.node).push(pod);
    }
    const bad = live.list.filter((node) => nodeHealth(node).health === "bad").length;
    return [
      head("Nodes", { note: live.list.length > 0 ? `${count(live.list.length, "node")}, ${bad === 0 ? "all Ready" : `${bad} NotReady`}` : "" }),
      trouble([live], "nodes") ?? h("ul", { class: "node-map", "aria-label": "Map of nodes" }, live.list.map((node) => tile(node, byNode.get(node.metadata.name) ?? []))),
    ];
  }

  function tile(node, own) {
    const { name } = node.metadata;
    const { health, word, since: from, why } = nodeHealth(node);
    const tip = `${name}: ${word} since ${moment(from)}${why && health !== "ok" ? `. ${why}` : ""}`;
    const allocatable = node.status?.allocatable ?? {};
    const counts = tally(own);
    const part = (what, say) => {
      const now = used(use, name, what);
      const all = quantity(allocatable[what]);
      return meter(`${what} of ${name}`, now || 0, all, `${say(now)} / ${say(all)}`);
    };
    return h("li", { key: name },
      h("a", { class: `node-tile ${health}`, href: `#/nodes/${name}`, "aria-describedby": `tip-${name}` },
        h("span", { class: "node-name" }, name),
        chip(health, word),
        h("span", { class: "quiet" }, "since ", since(from)),
        h("span", { class: "node-use" }, h("span", null, "CPU"), part("cpu", cores), h("span", null, "Memory"), part("memory", bytes)),
        pods.state === "forbidden" ? null : h("span", null, count(own.length, "pod"), stack(`Pods of ${name}`, Object.entries(counts).map(([state, number]) => ({ health: state, count: number, word: chip(state).kids[1] }))))),
      h("span", { class: "tip", role: "tooltip", id: `tip-${name}` }, tip));
  }

  return { title: "Nodes", view, close: () => [live, pods, use].forEach((each) => each.close()) };
}

/** Makes the page of a node. */
export function node([name, tab = "about"]) {
  const live = follow("nodes", "", redraw, { fieldSelector: `metadata.name=${name}` });
  const pods = follow("pods", "", redraw, { fieldSelector: `spec.nodeName=${name}` });
  const events = follow("events", "", redraw, { fieldSelector: `involvedObject.kind=Node,involvedObject.name=${name}` });
  const use = usage();
  let editor = null;
  const choose = (id) => go(`#/nodes/${name}${id === "about" ? "" : `/${id}`}`);

  function view() {
    const object = live.list[0];
    const crumb = h("a", { href: "#/nodes" }, "Nodes");
    if (!object) return [head(name, { crumb }), live.state === "live" ? h("p", { class: "empty" }, "There is no such node (any more).") : trouble([live], "this node")];
    const { health, word, since: from, why } = nodeHealth(object);
    const cordoned = object.spec.unschedulable === true;
    const allowed = may("patch", "", "nodes", "", redraw);
    const cordon = async () => {
      const body = h("p", null, cordoned ? "New pods may be placed here again." : "Pods that run here stay; new ones go elsewhere.");
      if (await ask({ title: `${cordoned ? "Uncordon" : "Cordon"} ${name}?`, body, confirm: cordoned ? "Uncordon" : "Cordon" }) === null) return;
      await attempt(`${name} is ${cordoned ? "open" : "closed"} for new pods`, () => call(path("v1", "nodes", "", name), { method: "PATCH", type: "application/merge-patch+json", body: { spec: { unschedulable: cordoned ? null : true } } }));
    };
    return [
      head(name, { crumb, chips: chip(health, word), note: [`since ${moment(from)}`, why && `: ${why}`], actions: button(cordoned ? "Uncordon" : "Cordon", cordon, { allowed }) }),
      tabs("Parts", [["about", "About"], ["events", "Events"], ["yaml", "YAML"]], tab, choose),
      h("div", { id: "panel", role: "tabpanel", "aria-labelledby": `tab-${tab}`, key: tab }, panel(object)),
    ];
  }

  function panel(object) {
    if (tab === "events") return card("Events", { wide: true }, trouble([events], "events") ?? eventTable(events.list));
    if (tab === "yaml") {
      editor ??= yamlEditor({ version: "v1", plural: "nodes", namespace: "", name });
      return editor.view();
    }
    const { status, spec, metadata } = object;
    const info = status.nodeInfo ?? {};
    const part = (what, say) => {
      const now = used(use, name, what);
      const all = quantity(status.allocatable?.[what]);
      return meter(`${what} of ${name}`, now || 0, all, `${say(now)} of ${say(all)} (${percent(now || 0, all)})`);
    };
    return h("div", { class: "cards two" },
      card("Node", {}, facts([
        ["CPU", part("cpu", cores)],
        ["Memory", part("memory", bytes)],
        ["Pods", `${pods.list.length} of ${status.allocatable?.pods ?? "?"}`],
        ["Addresses", (status.addresses ?? []).map((each) => `${each.address} (${each.type})`).join(", ")],
        ["System", `${info.operatingSystem}/${info.architecture}, ${info.osImage ?? ""}`],
        ["Runtime", info.containerRuntimeVersion],
        ["Version", info.kubeletVersion],
        ["Taints", (spec.taints ?? []).map((each) => `${each.key}${each.value ? `=${each.value}` : ""}:${each.effect}`).join(", ") || "none"],
        ["Labels", labels(metadata.labels)],
      ])),
      card("Conditions", {}, table("Conditions", [
        ["Condition", (each) => each.type],
        ["Is", (each) => chip((each.type === "Ready") === (each.status === "True") ? "ok" : "bad", each.status)],
        ["Since", (each) => since(each.lastTransitionTime), "num"],
        ["Why", (each) => each.message, "long"],
      ], status.conditions ?? [], { keyOf: (each) => each.type })),
      card("Pods", { wide: true }, trouble([pods], "pods") ?? table("Pods", [
        ["Name", (pod) => h("a", { href: podLink(pod) }, pod.name)],
        ["Namespace", (pod) => pod.namespace],
        ["State", (pod) => chip(podHealth(pod), pod.status)],
        ["Restarts", (pod) => pod.restarts, "num"],
        ["Age", (pod) => since(pod.created), "num"],
      ], pods.list.slice(0, 300), { keyOf: (pod) => pod.uid, empty: "No pods." }),
      pods.list.length > 300 && h("p", { class: "note" }, h("a", { href: `#/pods?q=${name}` }, `All ${pods.list.length} pods`))));
  }

  return { title: `${name} · Nodes`, view, close: () => [live, pods, events, use].forEach((each) => each.close()) };
}
