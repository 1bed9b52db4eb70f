// All pods: a list or tiles, live, of which only the visible part is in the page.

import { call, path } from "./api.js";
import { h } from "./dom.js";
import { age, bytes, cores, count, quantity } from "./format.js";
import { follow } from "./live.js";
import { HEALTH_WORDS, podHealth, podLink, tally, workloadOf } from "./model.js";
import { chip, head, trouble } from "./parts.js";
import { redraw, scope } from "./state.js";
import { virtualList } from "./virtual.js";

const ROW = 40;
const TILE = 28;
/** Pods whose use is asked for together: more is a lot of bytes every few seconds. */
const USE_PODS_MAX = 1500;
const USE_EVERY_MS = 10_000;

/** What the containers of a pod may use: { cpu, memory, unlimited }. */
export function limitsOf(pod) {
  const containers = pod.spec?.containers ?? [];
  const sum = (name) => containers.reduce((all, container) => all + (quantity(container.resources?.limits?.[name]) || 0), 0);
  const open = containers.filter((container) => !container.resources?.limits?.memory).map((container) => container.name);
  return { cpu: sum("cpu"), memory: sum("memory"), unlimited: open };
}

/** Use by `namespace/name`, from metrics.k8s.io. */
export function useOf(metrics) {
  const all = new Map();
  for (const item of metrics?.items ?? []) {
    const sum = (name) => item.containers.reduce((all, container) => all + quantity(container.usage[name]), 0);
    all.set(`${item.metadata.namespace}/${item.metadata.name}`, { cpu: sum("cpu"), memory: sum("memory") });
  }
  return all;
}

/** Makes the page. */
export function pods(_, query) {
  const live = follow("pods", scope.namespace, changed);
  const ui = { text: query.get("q") ?? "", health: query.get("health") ?? "", tiles: query.get("view") === "tiles" };
  const limits = new Map();
  let use = new Map();
  let shown = [];
  let filtered = null;
  let closed = false;
  let timer = 0;

  const rows = virtualList({
    label: "Pods", line: ROW, role: "table", show: row, onSeen: askLimits,
    head: [["Name"], ["Namespace", "c-ns"], ["State"], ["Ready", "num c-ready"], ["Restarts", "num c-restarts"], ["CPU", "num c-cpu"], ["Memory use / limit", "c-memory"], ["Node", "c-node"], ["Age", "num c-age"]],
  });
  const tiles = virtualList({ label: "Pods as tiles", line: TILE, role: "tiles", perLine: (width) => Math.floor((width - 8) / TILE), show: tile });

  function changed() {
    filter();
    redraw();
  }

  function filter() {
    const key = [live.version, ui.text, ui.health].join("\n");
    if (key === filtered) return;
    filtered = key;
    const words = ui.text.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (pod) => words.every((word) => {
      if (word.includes("=")) {
        const [name, value] = word.split("=");
        return (pod.labels[name] ?? "").toLowerCase() === value;
      }
      return `${pod.namespace}/${pod.name} ${pod.status} ${pod.node} ${pod.ip} ${workloadOf(pod)}`.toLowerCase().includes(word);
    });
    shown = live.list.filter((pod) => (!ui.health || podHealth(pod) === ui.health) && fits(pod));
    rows.set(shown);
    tiles.set(shown);
  }

  function row(pod) {
    const health = podHealth(pod);
    const used = use.get(`${pod.namespace}/${pod.name}`);
    return h("div", { key: pod.uid, role: "row", class: `row ${health}` },
      h("span", { role: "cell" }, h("a", { class: "row-link", href: podLink(pod), title: pod.name }, pod.name)),
      h("span", { role: "cell", class: "c-ns" }, pod.namespace),
      h("span", { role: "cell" }, chip(health, pod.status || HEALTH_WORDS[health])),
      h("span", { role: "cell", class: "num c-ready" }, pod.ready),
      h("span", { role: "cell", class: "num c-restarts" }, pod.restarts),
      h("span", { role: "cell", class: "num c-cpu" }, used ? cores(used.cpu) : "–"),
      h("span", { role: "cell", class: "c-memory" }, memory(pod, used)),
      h("span", { role: "cell", class: "c-node" }, pod.node || "–"),
      h("span", { role: "cell", class: "num c-age" }, age(pod.created)));
  }

  function memory(pod, used) {
    const limit = limits.get(`${pod.uid}/${pod.generation}`);
    const words = used ? bytes(used.memory) : "–";
    if (!limit) return words;
    if (limit.unlimited.length > 0) {
      return [words, " ", h("span", { class: "flag", title: `no memory limit: ${limit.unlimited.join(", ")}` }, "no limit")];
    }
    const part = used ? Math.min(1, used.memory / limit.memory) : 0;
    const health = part > 0.9 ? "bad" : part > 0.75 ? "warn" : "ok";
    return [h("span", { class: "mini", "aria-hidden": "true" }, h("span", { class: health, style: { width: `${part * 100}%` } })), ` ${words} / ${bytes(limit.memory)}`];
  }

  function tile(pod) {
    const health = podHealth(pod);
    const words = `${pod.namespace}/${pod.name}: ${pod.status}, ${pod.ready} ready${pod.node ? `, on ${pod.node}` : ""}`;
    return h("span", { key: pod.uid, role: "listitem", class: "tile-place" }, h("a", { class: `tile ${health}`, href: podLink(pod), "aria-label": words, title: words }));
  }

  /** Asks for the limits of what is on the screen; lists do not carry them. */
  async function askLimits(visible) {
    const missing = visible.filter((pod) => !limits.has(`${pod.uid}/${pod.generation}`)).slice(0, 80);
    for (let at = 0; at < missing.length && !closed; at += 8) {
      await Promise.all(missing.slice(at, at + 8).map(async (pod) => {
        try {
          limits.set(`${pod.uid}/${pod.generation}`, limitsOf(await call(path("v1", "pods", pod.namespace, pod.name))));
        } catch {
          // It has gone, or may not be read; the column stays empty.
        }
      }));
      rows.redraw();
    }
  }

  async function askUse() {
    if (!document.hidden && live.list.length <= USE_PODS_MAX) {
      try {
        use = useOf(await call(path("metrics.k8s.io/v1beta1", "pods", scope.namespace)));
        rows.redraw();
      } catch {
        use = new Map();
      }
    }
    if (!closed) timer = setTimeout(askUse, USE_EVERY_MS);
  }
  timer = setTimeout(askUse, 300);
  const clock = setInterval(() => rows.redraw(), 10_000);

  function view() {
    filter();
    const counts = tally(live.list);
    const change = (name, value) => {
      ui[name] = value;
      changed();
    };
    const filters = ["", "ok", "wait", "warn", "bad", "done"].filter((health) => !health || counts[health] > 0 || ui.health === health);
    return [
      head("Pods", { note: shown.length === live.list.length ? count(live.list.length, "pod") : `${shown.length} of ${count(live.list.length, "pod")}` }),
      h("div", { class: "tools" },
        h("label", { class: "search" }, h("span", { class: "hidden" }, "Filter pods"),
          h("input", { type: "search", placeholder: "Filter by name, state, node, or label=value", value: ui.text, oninput: (event) => change("text", event.target.value) })),
        h("div", { class: "choices", role: "group", "aria-label": "State" }, filters.map((health) =>
          h("button", { key: health, type: "button", "aria-pressed": String(ui.health === health), onclick: () => change("health", health) },
            health ? [HEALTH_WORDS[health], " ", h("b", null, counts[health])] : "all"))),
        h("div", { class: "choices", role: "group", "aria-label": "View" },
          h("button", { type: "button", "aria-pressed": String(!ui.tiles), onclick: () => change("tiles", false) }, "List"),
          h("button", { type: "button", "aria-pressed": String(ui.tiles), onclick: () => change("tiles", true) }, "Tiles"))),
      trouble([live], "pods") ?? (shown.length === 0 ? h("p", { class: "empty" }, "No pods here.") : ui.tiles ? tiles.element : rows.element),
    ];
  }

  return {
    title: "Pods", view, fill: true,
    close: () => {
      closed = true;
      clearTimeout(timer);
      clearInterval(clock);
      live.close();
    },
  };
}
