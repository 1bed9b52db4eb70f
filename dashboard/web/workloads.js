// Deployments and their kin: a list, and a page each with scale, restart, pause, undo, pods and YAML.

import { call, may, path } from "./api.js";
import { DESCRIPTION, NEEDS, OWNER, note } from "./depend.js";
import { h } from "./dom.js";
import { follow } from "./live.js";
import { WORKLOADS, dnsName, matches, podHealth, podLink, selectorText, selects, serviceLink, workloadHealth, workloadLink, workloadOf } from "./model.js";
import { ask, attempt, button, card, chip, eventTable, facts, head, labels, since, table, tabs, trouble } from "./parts.js";
import { go, redraw, scope } from "./state.js";
import { yamlEditor } from "./yaml.js";

const MERGE = "application/merge-patch+json";
const REVISION = "deployment.kubernetes.io/revision";

/** Makes the list. */
export function workloads() {
  const lives = WORKLOADS.map(({ plural }) => follow(plural, scope.namespace, redraw));
  const ui = { text: "" };

  function view() {
    const words = ui.text.toLowerCase();
    const sections = WORKLOADS.map(({ kind, version, plural }, at) => {
      const live = lives[at];
      const items = live.list.filter(({ metadata }) => `${metadata.namespace}/${metadata.name}`.toLowerCase().includes(words));
      if (items.length === 0 && live.state === "live" && kind !== "Deployment") return null;
      return card(`${kind}s`, { wide: true, key: plural, extra: h("span", { class: "count" }, items.length) },
        trouble([live], `${kind}s`) ?? table(`${kind}s`, columns(kind, version, plural), items.slice(0, 1000), { keyOf: (each) => each.metadata.uid, empty: `No ${kind}s.` }));
    });
    return [
      head("Workloads"),
      h("div", { class: "tools" }, h("label", { class: "search" }, h("span", { class: "hidden" }, "Filter workloads"),
        h("input", { type: "search", placeholder: "Filter by name", value: ui.text, oninput: (event) => { ui.text = event.target.value; redraw(); } }))),
      sections,
    ];
  }

  return { title: "Workloads", view, close: () => lives.forEach((live) => live.close()) };
}

function columns(kind, version, plural) {
  const images = (object) => {
    const template = object.spec.template ?? object.spec.jobTemplate?.spec.template;
    return (template?.spec.containers ?? []).map((each) => each.image).join(", ");
  };
  return [
    ["Name", (each) => h("a", { href: workloadLink(kind, each) }, each.metadata.name)],
    ["Namespace", (each) => each.metadata.namespace],
    ["Health", (each) => {
      const state = workloadHealth(kind, each);
      return [chip(state.health, state.paused ? "paused" : undefined), state.why && h("span", { class: "why" }, ` ${state.why}`)];
    }],
    ["Ready", (each) => {
      const state = workloadHealth(kind, each);
      return `${state.ready}/${state.wanted}`;
    }, "num"],
    ["Images", (each) => h("span", { class: "mono" }, images(each)), "long"],
    ["Age", (each) => since(each.metadata.creationTimestamp), "num"],
    ["", (each) => h("span", { class: "row-actions" }, actions({ kind, version, plural }, each, true))],
  ];
}

/** The buttons of a workload. `brief` leaves out what belongs on its page. */
function actions({ kind, version, plural }, object, brief) {
  const { namespace, name } = object.metadata;
  const group = version.split("/")[0];
  const address = path(version, plural, namespace, name);
  const patch = may("patch", group, plural, namespace, redraw);
  const list = [];
  if (kind === "Deployment" || kind === "StatefulSet") {
    const scale = may("patch", group, plural, namespace, redraw, "scale");
    list.push(button("Scale", () => scaleIt(object, address), { allowed: scale, "aria-label": `Scale ${name}` }));
  }
  if (kind !== "Job" && kind !== "CronJob") {
    list.push(button("Restart", () => restart(name, address), { allowed: patch, "aria-label": `Restart ${name}` }));
  }
  if (kind === "Deployment" && !brief) {
    const paused = object.spec.paused === true;
    list.push(button(paused ? "Resume" : "Pause", () => attempt(`${name} ${paused ? "goes on" : "is paused"}`,
      () => call(address, { method: "PATCH", type: MERGE, body: { spec: { paused: paused ? null : true } } })), { allowed: patch, why: paused ? "Roll out changes again" : "Collect changes before they are rolled out" }));
  }
  if (kind === "CronJob" && !brief) {
    const suspended = object.spec.suspend === true;
    list.push(button(suspended ? "Resume" : "Suspend", () => attempt(`${name} ${suspended ? "runs again" : "is suspended"}`,
      () => call(address, { method: "PATCH", type: MERGE, body: { spec: { suspend: !suspended } } })), { allowed: patch }));
  }
  return list;
}

async function scaleIt(object, address) {
  const { name } = object.metadata;
  const body = h("label", null, "Replicas ", h("input", { type: "number", name: "replicas", min: "0", max: "100000", required: true, value: String(object.spec.replicas ?? 1) }));
  const given = await ask({ title: `Scale ${name}`, body, confirm: "Scale" });
  if (given === null) return;
  const replicas = Number(given.replicas);
  await attempt(`${name} scaled to ${replicas}`, () => call(`${address}/scale`, { method: "PATCH", type: MERGE, body: { spec: { replicas } } }));
}

async function restart(name, address) {
  const body = h("p", null, "Its pods are replaced a few at a time, as its rollout strategy says.");
  if (await ask({ title: `Restart ${name}?`, body, confirm: "Restart" }) === null) return;
  const annotations = { "kubectl.kubernetes.io/restartedAt": new Date().toISOString().replace(/\.\d+/, "") };
  await attempt(`${name} is being restarted`, () => call(address, { method: "PATCH", type: "application/strategic-merge-patch+json", body: { spec: { template: { metadata: { annotations } } } } }));
}

/** Makes the page of a workload. */
export function workload([kind, namespace, name, tab = "about"]) {
  const entry = WORKLOADS.find((each) => each.kind === kind) ?? WORKLOADS[0];
  const { version, plural } = entry;
  const only = { fieldSelector: `metadata.name=${name}` };
  const live = follow(plural, namespace, redraw, only);
  const events = follow("events", namespace, redraw, { fieldSelector: `involvedObject.kind=${kind},involvedObject.name=${name}` });
  const pods = follow("pods", namespace, redraw);
  const services = follow("services", namespace, redraw);
  const sets = kind === "Deployment" ? follow("replicasets", namespace, redraw) : null;
  let editor = null;
  const choose = (id) => go(`#/workloads/${kind}/${namespace}/${name}${id === "about" ? "" : `/${id}`}`);

  function view() {
    const object = live.list[0];
    const crumb = [h("a", { href: "#/workloads" }, `${kind}s`), " / ", namespace];
    if (!object) return [head(name, { crumb }), live.state === "live" ? h("p", { class: "empty" }, `There is no such ${kind} (any more).`) : trouble([live], `this ${kind}`)];
    const state = workloadHealth(kind, object);
    const selector = object.spec.selector ? `#/logs?${new URLSearchParams({ kind: "selector", q: selectorText(object.spec.selector), ns: namespace })}` : "";
    return [
      head(name, { crumb, chips: chip(state.health, state.paused ? "paused" : undefined), note: state.why,
        actions: [actions(entry, object, false), selector && h("a", { class: "button", href: selector }, "Logs")] }),
      tabs("Parts", [["about", "About"], ...(sets ? [["history", "History"]] : []), ["events", "Events"], ["yaml", "YAML"]], tab, choose),
      h("div", { id: "panel", role: "tabpanel", "aria-labelledby": `tab-${tab}`, key: tab }, panel(object, state)),
    ];
  }

  function panel(object, state) {
    if (tab === "events") return card("Events", { wide: true }, trouble([events], "events") ?? eventTable(events.list));
    if (tab === "history") return card("History", { wide: true }, trouble([sets], "ReplicaSets") ?? revisions(object));
    if (tab === "yaml") {
      editor ??= yamlEditor({ version, plural, namespace, name });
      return editor.view();
    }
    return about(object, state);
  }

  function about(object, state) {
    const own = pods.list.filter((pod) => workloadOf(pod) === `${kind}/${name}`
      || (object.spec.selector && pod.owner?.kind === "ReplicaSet" && kind === "Deployment" && matches(object.spec.selector, pod.labels)));
    const template = object.spec.template ?? object.spec.jobTemplate?.spec.template;
    const named = services.list.filter((service) => selects(service.spec?.selector, template?.metadata?.labels ?? {}));
    const { status = {}, spec } = object;
    return h("div", { class: "cards two" },
      card(kind, {}, facts([
        ["What it is for", note(object, DESCRIPTION) || null],
        ["Owner", note(object, OWNER) || null],
        ["Needs", note(object, NEEDS) || null],
        ["Ready", `${state.ready} of ${state.wanted}`],
        ["Up to date", kind === "Deployment" ? `${status.updatedReplicas ?? 0}` : null],
        ["Strategy", spec.strategy?.type ?? spec.updateStrategy?.type],
        ["Schedule", spec.schedule],
        ["Last run", status.lastScheduleTime ? since(status.lastScheduleTime) : null],
        ["Revision", object.metadata.annotations?.[REVISION]],
        ["Made", [since(object.metadata.creationTimestamp), " ago"]],
        ["DNS names", named.length > 0 ? named.map((service) => h("div", { key: service.metadata.uid }, h("a", { class: "mono", href: serviceLink(service) }, dnsName(service)))) : null],
        ["Selector", labels(spec.selector?.matchLabels)],
      ])),
      card("Conditions", {}, table("Conditions", [
        ["Condition", (each) => each.type],
        ["Is", (each) => chip(each.status === "True" ? "ok" : "warn", each.status === "True" ? "yes" : "no")],
        ["Since", (each) => since(each.lastTransitionTime), "num"],
        ["Why", (each) => each.message || each.reason || "", "long"],
      ], status.conditions ?? [], { keyOf: (each) => each.type, empty: "None." })),
      card("Pods", { wide: true, extra: h("span", { class: "count" }, own.length) }, trouble([pods], "pods") ?? table("Pods", [
        ["Name", (pod) => h("a", { href: podLink(pod) }, pod.name)],
        ["State", (pod) => chip(podHealth(pod), pod.status)],
        ["Ready", (pod) => pod.ready, "num"],
        ["Restarts", (pod) => pod.restarts, "num"],
        ["Node", (pod) => pod.node || "–"],
        ["Age", (pod) => since(pod.created), "num"],
      ], own.slice(0, 500), { keyOf: (pod) => pod.uid, empty: "No pods." })));
  }

  function revisions(object) {
    const own = sets.list.filter((set) => set.metadata.ownerReferences?.some((owner) => owner.uid === object.metadata.uid));
    own.sort((a, b) => Number(b.metadata.annotations?.[REVISION] ?? 0) - Number(a.metadata.annotations?.[REVISION] ?? 0));
    const current = object.metadata.annotations?.[REVISION];
    const allowed = may("patch", "apps", "deployments", namespace, redraw);
    return table("History", [
      ["Revision", (set) => set.metadata.annotations?.[REVISION] ?? "?", "num"],
      ["Images", (set) => h("span", { class: "mono" }, set.spec.template.spec.containers.map((each) => each.image).join(", ")), "long"],
      ["Why", (set) => set.metadata.annotations?.["kubernetes.io/change-cause"] ?? "–"],
      ["Pods", (set) => set.status?.replicas ?? 0, "num"],
      ["Made", (set) => since(set.metadata.creationTimestamp), "num"],
      ["", (set) => (set.metadata.annotations?.[REVISION] === current ? chip("ok", "current")
        : button("Go back", () => undo(set), { allowed: object.spec.paused ? false : allowed, why: object.spec.paused ? "Resume it first" : undefined, "aria-label": `Go back to revision ${set.metadata.annotations?.[REVISION]}` }))],
    ], own, { keyOf: (set) => set.metadata.uid });
  }

  async function undo(set) {
    const revision = set.metadata.annotations?.[REVISION];
    const images = set.spec.template.spec.containers.map((each) => each.image).join(", ");
    if (await ask({ title: `Go back to revision ${revision}?`, body: h("p", null, "Runs ", h("code", null, images), " again."), confirm: "Go back" }) === null) return;
    const template = structuredClone(set.spec.template);
    delete template.metadata.labels?.["pod-template-hash"];
    const body = [{ op: "replace", path: "/spec/template", value: template }];
    await attempt(`${name} goes back to revision ${revision}`, () => call(path(version, plural, namespace, name), { method: "PATCH", type: "application/json-patch+json", body }));
  }

  return { title: `${name} · ${kind}s`, view, close: () => [live, events, pods, services, sets].forEach((each) => each?.close()) };
}
