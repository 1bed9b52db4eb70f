// The first page: what runs, where, how it does, under which names, and what is wrong and why.

import { call, path } from "./api.js";
import { h } from "./dom.js";
import { count } from "./format.js";
import { follow } from "./live.js";
import { WORKLOADS, dnsName, endpointsOf, nodeHealth, podHealth, podReason, problems, selects, serviceLink, tally, workloadHealth, workloadLink, workloadOf } from "./model.js";
import { card, chip, dot, eventTable, head, stack, table, trouble } from "./parts.js";
import { redraw, scope } from "./state.js";

/** Problems that are shown before "show all". */
const PROBLEMS_FIRST = 12;
/** Workloads that are shown before "show all". */
const WORKLOADS_FIRST = 60;

/** Makes the page. */
export function overview() {
  const namespace = scope.namespace;
  const open = (name, query) => follow(name, namespace, redraw, query);
  const lives = {
    nodes: open("nodes"), pods: open("pods"), services: open("services"), slices: open("endpointslices"),
    events: open("events", { fieldSelector: "type=Warning" }),
  };
  for (const { plural } of WORKLOADS) lives[plural] = open(plural);
  const reasons = new Map();
  const ui = { allProblems: false, allWorkloads: false };

  /** The words of a pod's own status, asked for once per version of it. */
  function reason(pod) {
    const key = `${pod.uid}/${pod.version}`;
    if (!reasons.has(key)) {
      reasons.set(key, "");
      call(path("v1", "pods", pod.namespace, pod.name)).then((whole) => {
        reasons.set(key, podReason(whole));
        redraw();
      }, () => {});
    }
    return reasons.get(key);
  }

  function view() {
    const pods = lives.pods.list;
    const workloads = WORKLOADS.flatMap(({ plural, kind }) => lives[plural].list
      .filter((object) => kind !== "Job" || !object.metadata.ownerReferences?.some((owner) => owner.kind === "CronJob"))
      .map((object) => ({ kind, object })));
    const wrong = problems({ nodes: lives.nodes.list, pods, workloads, services: lives.services.list, slices: lives.slices.list });
    return [
      head("Overview", { note: "What runs, on which hosts, whether it is healthy, and under which names it is found." }),
      h("div", { class: "cards" }, figures(pods, workloads)),
      problemCard(wrong),
      runningCard(pods, workloads),
      card("Warnings of the last hour", { wide: true }, trouble([lives.events], "events") ?? eventTable(lives.events.list, "No warnings.")),
    ];
  }

  function figures(pods, workloads) {
    const counts = tally(pods);
    const nodes = lives.nodes.list.map(nodeHealth);
    const states = workloads.map(({ kind, object }) => workloadHealth(kind, object));
    const routed = lives.services.list.filter((service) => service.spec?.selector);
    const answered = routed.filter((service) => endpointsOf(service, lives.slices.list).some((endpoint) => endpoint.ready));
    const by = (list, health) => list.filter((each) => each.health === health).length;
    const parts = (list) => ["ok", "done", "wait", "warn", "bad"].map((health) => ({ health, count: by(list, health), word: chip(health).kids[1] }));
    return [
      figure("Nodes", "#/nodes", lives.nodes, by(nodes, "ok"), nodes.length, "ready", stack("Nodes", parts(nodes))),
      figure("Workloads", "#/workloads", lives.deployments, by(states, "ok") + by(states, "done"), states.length, "healthy", stack("Workloads", parts(states))),
      figure("Pods", "#/pods", lives.pods, counts.ok, pods.length - counts.done, "running and ready",
        stack("Pods", Object.entries(counts).map(([health, number]) => ({ health, count: number, word: chip(health).kids[1] })))),
      figure("Services", "#/services", lives.services, answered.length, routed.length, "with endpoints",
        stack("Services", [{ health: "ok", count: answered.length, word: "with endpoints" }, { health: "warn", count: routed.length - answered.length, word: "without" }])),
    ];
  }

  function figure(name, link, live, good, all, word, bar) {
    if (live.state === "forbidden") {
      return h("div", { class: "figure", key: name }, h("h2", null, name), h("p", { class: "denied", role: "note" }, `You may not see ${name.toLowerCase()}${scope.namespace ? "" : " of all namespaces; choose one of yours above"}.`));
    }
    return h("a", { class: "figure", key: name, href: link },
      h("h2", null, name),
      h("p", { class: "big" }, good.toLocaleString("en"), h("small", null, ` / ${all.toLocaleString("en")}`)),
      h("p", { class: "note" }, word), bar);
  }

  function problemCard(wrong) {
    const loading = trouble([lives.pods], "pods");
    if (wrong.length === 0) {
      const note = lives.pods.state === "live" ? h("p", { class: "all-well" }, dot("ok"), "Nothing is wrong.") : loading;
      return card("What is wrong", { wide: true, key: "problems" }, note);
    }
    const shown = ui.allProblems ? wrong.slice(0, 500) : wrong.slice(0, PROBLEMS_FIRST);
    const more = wrong.length > PROBLEMS_FIRST && h("button", { type: "button", onclick: () => { ui.allProblems = !ui.allProblems; redraw(); } },
      ui.allProblems ? "Show fewer" : `Show all ${wrong.length}`);
    return card("What is wrong", { wide: true, key: "problems", extra: h("span", { class: "count" }, count(wrong.length, "problem")) },
      h("ul", { class: "problems" }, shown.map((problem, index) => h("li", { key: problem.link, class: problem.health },
        dot(problem.health),
        h("a", { href: problem.link }, h("span", { class: "kind" }, problem.kind), problem.namespace ? `${problem.namespace}/${problem.name}` : problem.name),
        h("strong", null, problem.what),
        h("span", { class: "why" }, problem.why || (problem.pod && index < PROBLEMS_FIRST * 3 ? reason(problem.pod) : "")),
      ))), more);
  }

  function runningCard(pods, workloads) {
    const loading = trouble([lives.deployments, lives.pods], "workloads");
    const hosts = new Map();
    const labels = new Map();
    const single = [];
    for (const pod of pods) {
      const owner = workloadOf(pod);
      const key = `${pod.namespace}/${owner}`;
      if (!hosts.has(key)) hosts.set(key, new Set());
      if (pod.node) hosts.get(key).add(pod.node);
      labels.set(key, pod.labels);
      if (!pod.owner) single.push(pod);
    }
    const nameList = (namespace, own) => lives.services.list.filter((service) => service.metadata.namespace === namespace && own && selects(service.spec?.selector, own));
    const rows = workloads.map(({ kind, object }) => {
      const { namespace, name } = object.metadata;
      const key = `${namespace}/${kind}/${name}`;
      const own = object.spec?.template?.metadata?.labels ?? labels.get(key);
      return { key, kind, namespace, name, link: workloadLink(kind, object), state: workloadHealth(kind, object), hosts: [...(hosts.get(key) ?? [])].sort(), own };
    });
    for (const pod of single) {
      const health = podHealth(pod);
      const [ready, wanted] = pod.ready.split("/").map(Number);
      rows.push({ key: `${pod.namespace}/Pod/${pod.name}`, kind: "Pod", namespace: pod.namespace, name: pod.name, link: `#/pods/${pod.namespace}/${pod.name}`,
        state: { health, ready, wanted }, hosts: pod.node ? [pod.node] : [], own: pod.labels });
    }
    rows.sort((a, b) => (a.key < b.key ? -1 : 1));
    const shown = ui.allWorkloads ? rows.slice(0, 2000) : rows.slice(0, WORKLOADS_FIRST);
    const more = rows.length > WORKLOADS_FIRST && h("button", { type: "button", onclick: () => { ui.allWorkloads = !ui.allWorkloads; redraw(); } },
      ui.allWorkloads ? "Show fewer" : `Show all ${rows.length}`);
    const list = (items, most) => (items.length === 0 ? "–" : [items.slice(0, most).map((each, index) => [index > 0 && h("br"), each]), items.length > most && ` +${items.length - most}`]);
    return card("What runs", { wide: true, key: "runs", extra: h("span", { class: "count" }, count(rows.length, "workload")) },
      loading ?? table("What runs", [
        ["Workload", (row) => h("a", { href: row.link }, row.name)],
        ["Kind", (row) => row.kind],
        ["Namespace", (row) => row.namespace],
        ["Health", (row) => chip(row.state.health, row.state.paused ? "paused" : undefined)],
        ["Ready", (row) => `${row.state.ready}/${row.state.wanted}`, "num"],
        ["Hosts", (row) => list(row.hosts.map((node) => h("a", { href: `#/nodes/${node}` }, node)), 2)],
        ["DNS names", (row) => list(nameList(row.namespace, row.own).map((service) => h("a", { href: serviceLink(service), class: "mono" }, dnsName(service))), 2)],
      ], shown, { keyOf: (row) => row.key, empty: "No workloads yet. `kubectl create deployment` makes one." }), more);
  }

  return { title: "Overview", view, close: () => Object.values(lives).forEach((live) => live.close()) };
}
