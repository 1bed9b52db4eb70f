// NetworkPolicies and what they mean: which pods are shut in, and whether one pod may reach another.

import { h } from "./dom.js";
import { follow } from "./live.js";
import { matches, podLink } from "./model.js";
import { card, chip, eventTable, head, labels, table, trouble } from "./parts.js";
import { redraw, scope } from "./state.js";

/** The directions that a policy is about. */
function directions(policy) {
  return policy.spec.policyTypes ?? (policy.spec.egress ? ["Ingress", "Egress"] : ["Ingress"]);
}

function selectsPod(policy, pod) {
  return policy.metadata.namespace === pod.namespace && matches(policy.spec.podSelector, pod.labels);
}

function peerFits(peer, policy, pod, namespaces) {
  if (peer.ipBlock) return false;
  const own = peer.namespaceSelector
    ? matches(peer.namespaceSelector, namespaces.get(pod.namespace)?.metadata.labels ?? {})
    : pod.namespace === policy.metadata.namespace;
  return own && (!peer.podSelector || matches(peer.podSelector, pod.labels));
}

function portFits(ports, port) {
  if (!ports || ports.length === 0) return true;
  return ports.some((each) => each.port === undefined || (typeof each.port === "number" && port >= each.port && port <= (each.endPort ?? each.port)));
}

/** What policies say of one direction: { allowed, why }. Pure. */
export function verdict(direction, policies, pod, other, port, namespaces) {
  const mine = policies.filter((policy) => selectsPod(policy, pod) && directions(policy).includes(direction));
  const word = direction === "Ingress" ? "in" : "out";
  if (mine.length === 0) return { allowed: true, why: `no policy says what may come ${word} of ${pod.name}`.replace("in of", "in to") };
  const [rules, peers] = direction === "Ingress" ? ["ingress", "from"] : ["egress", "to"];
  for (const policy of mine) {
    for (const rule of policy.spec[rules] ?? []) {
      const all = !rule[peers] || rule[peers].length === 0;
      if ((all || rule[peers].some((peer) => peerFits(peer, policy, other, namespaces))) && portFits(rule.ports, port)) {
        return { allowed: true, why: `policy ${policy.metadata.name} lets it ${word}` };
      }
    }
  }
  return { allowed: false, why: `${mine.map((policy) => policy.metadata.name).join(", ")}: no rule lets it ${word}` };
}

/** Makes the page. */
export function network() {
  const live = follow("networkpolicies", scope.namespace, redraw);
  const pods = follow("pods", scope.namespace, redraw);
  const namespaces = follow("namespaces", "", redraw);
  const events = follow("events", scope.namespace, redraw, { fieldSelector: "type=Warning" });
  const ui = { from: "", to: "", port: "80" };

  function view() {
    return [
      head("Network", { note: "NetworkPolicies, and whether they let one pod reach another." }),
      trouble([live], "NetworkPolicies") ?? [tester(), policyCard(), refusals()],
    ];
  }

  function tester() {
    const find = (key) => pods.items.get(key);
    const [from, to] = [find(ui.from), find(ui.to)];
    const set = (name) => (event) => {
      ui[name] = event.target.value;
      redraw();
    };
    const input = (name, words) => h("label", { key: name }, `${words} `, h("input", { type: "text", class: "mono", list: "pod-names", placeholder: "namespace/pod", value: ui[name], oninput: set(name) }));
    let answer = h("p", { class: "empty" }, "Name two pods, and the policies are asked.");
    if (from && to) {
      const out = verdict("Egress", live.list, from, to, Number(ui.port), namespaces.items);
      const into = verdict("Ingress", live.list, to, from, Number(ui.port), namespaces.items);
      const good = out.allowed && into.allowed;
      answer = h("div", { role: "status" }, chip(good ? "ok" : "bad", good ? "allowed" : "refused"),
        h("ul", null, h("li", null, `out of ${from.name}: ${out.allowed ? "allowed" : "refused"}, ${out.why}`), h("li", null, `in to ${to.name}: ${into.allowed ? "allowed" : "refused"}, ${into.why}`)));
    }
    return card("May it?", { wide: true, key: "tester" },
      h("div", { class: "tools" }, input("from", "From"), input("to", "To"),
        h("label", null, "Port ", h("input", { type: "number", min: "1", max: "65535", value: ui.port, oninput: set("port") })),
        h("datalist", { id: "pod-names" }, pods.list.slice(0, 2000).map((pod) => h("option", { key: pod.uid, value: `${pod.namespace}/${pod.name}` })))),
      answer);
  }

  /** What was refused in truth: pods tell it in events. */
  function refusals() {
    const told = events.list.filter((event) => /NetworkPolicy .* isolates|egress/i.test(event.message ?? ""));
    return card("Refused lately", { wide: true, key: "refusals" }, trouble([events], "events") ?? eventTable(told, "Nothing was refused in the last hour."));
  }

  function policyCard() {
    return card("NetworkPolicies", { wide: true, key: "policies", extra: h("span", { class: "count" }, live.list.length) }, table("NetworkPolicies", [
      ["Name", (each) => each.metadata.name],
      ["Namespace", (each) => each.metadata.namespace],
      ["About", (each) => directions(each).join(", ")],
      ["Pods", (each) => {
        const own = pods.list.filter((pod) => selectsPod(each, pod));
        return [h("strong", null, own.length), " ", own.slice(0, 3).map((pod) => [h("a", { key: pod.uid, href: podLink(pod) }, pod.name), " "]), own.length > 3 && "…"];
      }, "long"],
      ["Selector", (each) => (Object.keys(each.spec.podSelector?.matchLabels ?? {}).length > 0 ? labels(each.spec.podSelector.matchLabels) : "all pods")],
      ["Rules", (each) => `${(each.spec.ingress ?? []).length} in, ${(each.spec.egress ?? []).length} out`],
    ], live.list, { keyOf: (each) => each.metadata.uid, empty: "No NetworkPolicies: every pod may reach every other." }));
  }

  return { title: "Network", view, close: () => [live, pods, namespaces, events].forEach((each) => each.close()) };
}
