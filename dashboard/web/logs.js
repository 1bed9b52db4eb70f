// Logs, live: of one pod, or of all pods that a selector, Service or workload means.

import { ApiError, lines, path, send } from "./api.js";
import { h } from "./dom.js";
import { follow } from "./live.js";
import { matches, selectorText, selects } from "./model.js";
import { head, trouble } from "./parts.js";
import { go, redraw, scope } from "./state.js";

/** Lines that are kept; older ones go. */
const LINES_MAX = 5000;
/** Containers that are followed at once. */
const STREAMS_MAX = 40;
const TAIL_LINES = 200;
const RETRY_MS = 2000;
const COLOURS = 8;

/** Reads log streams into a list of lines on the screen. `prefix` shows where each comes from. */
export function logScreen(prefix) {
  const element = document.createElement("div");
  element.className = "log";
  element.tabIndex = 0;
  element.setAttribute("role", "log");
  element.setAttribute("aria-label", "Log lines");
  // Announcing each line would drown everything else that a screen reader has to say.
  element.setAttribute("aria-live", "off");
  const kept = [];
  const streams = new Map();
  const ui = { text: "", followEnd: true, wrap: true, times: false, shown: 0 };
  let queue = [];
  let pending = false;

  function add(source, line, colour) {
    const space = line.indexOf(" ");
    queue.push({ source, colour, time: line.slice(0, space), text: line.slice(space + 1) });
    if (!pending) {
      pending = true;
      requestAnimationFrame(flush);
    }
  }

  function flush() {
    pending = false;
    queue.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
    for (const line of queue.slice(-LINES_MAX)) {
      line.node = row(line);
      // Streams are not in step: each line goes to its own moment among the others'.
      let at = kept.length;
      while (at > 0 && kept[at - 1].time > line.time) at--;
      element.insertBefore(line.node, kept[at]?.node ?? null);
      kept.splice(at, 0, line);
    }
    queue = [];
    while (kept.length > LINES_MAX) kept.shift().node.remove();
    if (ui.followEnd) element.scrollTop = element.scrollHeight;
    count();
  }

  function row(line) {
    const node = document.createElement("div");
    node.className = "line";
    if (/\b(error|panic|fatal)\b/i.test(line.text)) node.classList.add("error");
    const part = (name, text) => {
      const span = document.createElement("span");
      span.className = name;
      span.textContent = text;
      node.append(span);
    };
    part("time", line.time.slice(11, 23));
    if (prefix) part(`source c${line.colour}`, line.source);
    part("text", line.text.replace(/\x1b\[[0-9;]*[A-Za-z]/g, ""));
    node.hidden = !fits(line);
    return node;
  }

  function fits(line) {
    const words = ui.text.toLowerCase();
    return !words || line.text.toLowerCase().includes(words) || line.source.toLowerCase().includes(words);
  }

  function count() {
    const shown = ui.text ? kept.filter((line) => !line.node.hidden).length : kept.length;
    if (shown !== ui.shown) {
      ui.shown = shown;
      redraw();
    }
  }

  function refilter() {
    for (const line of kept) line.node.hidden = !fits(line);
    if (ui.followEnd) element.scrollTop = element.scrollHeight;
    count();
    redraw();
  }

  async function read(stream) {
    let sinceTime = "";
    while (!stream.abort.signal.aborted) {
      const query = new URLSearchParams({ container: stream.container, follow: String(!stream.previous), timestamps: "true" });
      if (stream.previous) query.set("previous", "true");
      if (sinceTime) query.set("sinceTime", sinceTime);
      else query.set("tailLines", String(TAIL_LINES));
      let last = sinceTime;
      try {
        const response = await send(`${path("v1", "pods", stream.namespace, stream.pod, "log")}?${query}`, { accept: "*/*", signal: stream.abort.signal });
        stream.error = null;
        await lines(response, (line) => {
          const time = line.slice(0, line.indexOf(" "));
          // After a break the server begins with what was said in that very second once more.
          if (sinceTime && time <= sinceTime) return;
          last = time;
          add(stream.source, line, stream.colour);
        });
      } catch (error) {
        if (stream.abort.signal.aborted) return;
        stream.error = error;
        redraw();
        if (error instanceof ApiError && (error.forbidden || error.code === 404)) return;
      }
      if (stream.previous) return;
      sinceTime = last;
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }

  element.addEventListener("scroll", () => {
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 24;
    if (atEnd !== ui.followEnd) {
      ui.followEnd = atEnd;
      redraw();
    }
  }, { passive: true });

  /** Follows exactly these containers: [{ namespace, pod, container, previous }]. */
  function want(targets) {
    const wanted = new Map(targets.slice(0, STREAMS_MAX).map((each) => [`${each.namespace}/${each.pod}/${each.container}${each.previous ? "/previous" : ""}`, each]));
    for (const [key, stream] of streams) {
      if (wanted.has(key)) continue;
      stream.abort.abort();
      streams.delete(key);
    }
    for (const [key, target] of wanted) {
      if (streams.has(key)) continue;
      const colour = [...key].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) >>> 0, 7) % COLOURS;
      const stream = { ...target, source: `${target.pod}/${target.container}`, colour, abort: new AbortController(), error: null };
      streams.set(key, stream);
      read(stream);
    }
  }

  function clear() {
    kept.length = 0;
    queue = [];
    element.replaceChildren();
    count();
  }

  function save() {
    const text = kept.filter(fits).map((line) => `${line.time} ${prefix ? `[${line.source}] ` : ""}${line.text}\n`).join("");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    link.download = "coracle.log";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  function tools(more) {
    const toggle = (name, word) => h("button", { type: "button", "aria-pressed": String(ui[name]), onclick: () => { ui[name] = !ui[name]; refilter(); } }, word);
    element.classList.toggle("wrap", ui.wrap);
    element.classList.toggle("times", ui.times);
    const errors = [...streams.values()].filter((stream) => stream.error);
    return [
      h("div", { class: "tools", key: "log-tools" }, more,
        h("label", { class: "search" }, h("span", { class: "hidden" }, "Filter lines"),
          h("input", { type: "search", placeholder: "Filter lines", value: ui.text, oninput: (event) => { ui.text = event.target.value; refilter(); } })),
        h("div", { class: "choices", role: "group", "aria-label": "Look" }, toggle("followEnd", "Follow"), toggle("wrap", "Wrap"), toggle("times", "Times")),
        h("button", { type: "button", onclick: clear }, "Clear"),
        h("button", { type: "button", onclick: save }, "Save"),
        h("span", { class: "count", role: "status" }, `${ui.shown} lines · ${streams.size} containers`)),
      errors.length > 0 && h("p", { class: "denied", key: "log-errors", role: "note" }, `${errors[0].source}: ${errors[0].error.message}`),
    ];
  }

  return { element, want, tools, clear, close: () => want([]) };
}

/** The logs of one pod. */
export function logView({ namespace, name }) {
  const screen = logScreen(false);
  const live = follow("fullPods", namespace, redraw, { fieldSelector: `metadata.name=${name}` });
  const ui = { container: "", previous: false };

  function view() {
    const pod = live.list[0];
    const containers = [...(pod?.spec.containers ?? []), ...(pod?.spec.initContainers ?? []), ...(pod?.spec.ephemeralContainers ?? [])].map((each) => each.name);
    ui.container ||= containers[0] ?? "";
    if (ui.container) screen.want([{ namespace, pod: name, container: ui.container, previous: ui.previous }]);
    const change = (changes) => {
      Object.assign(ui, changes);
      screen.clear();
      redraw();
    };
    return [
      ...screen.tools([
        h("label", null, "Container ", h("select", { value: ui.container, onchange: (event) => change({ container: event.target.value }) }, containers.map((each) => h("option", { key: each, value: each }, each)))),
        h("label", null, h("input", { type: "checkbox", checked: ui.previous, onchange: (event) => change({ previous: event.target.checked }) }), " the one before the last restart"),
      ]),
      screen.element,
    ];
  }

  return {
    view,
    close: () => {
      screen.close();
      live.close();
    },
  };
}

/** Makes the page of logs: `kind` is selector, Service or Deployment; `q` its selector or name. */
export function logs(_, query) {
  const namespace = scope.namespace;
  const ui = { kind: query.get("kind") ?? "selector", q: query.get("q") ?? "" };
  const ns = query.get("ns") ?? namespace;
  const screen = logScreen(true);
  const sources = { Service: follow("services", ns, redraw), Deployment: follow("deployments", ns, redraw) };
  let pods = null;
  let asked = null;
  let draft = ui.q;

  /** The selector of what was chosen: { namespace, text, test }, or null. */
  function chosen() {
    if (!ui.q) return null;
    if (ui.kind === "selector") return { namespace: ns, text: ui.q };
    const found = sources[ui.kind].items.get(ui.q);
    if (!found) return null;
    if (ui.kind === "Service") {
      const selector = { matchLabels: found.spec.selector ?? {} };
      return Object.keys(selector.matchLabels).length > 0 ? { namespace: found.metadata.namespace, text: selectorText(selector), test: (labels) => selects(found.spec.selector, labels) } : null;
    }
    return { namespace: found.metadata.namespace, text: selectorText(found.spec.selector), test: (labels) => matches(found.spec.selector, labels) };
  }

  function follows() {
    const what = chosen();
    const key = what ? `${what.namespace} ${what.text}` : "";
    if (key !== asked) {
      asked = key;
      pods?.close();
      pods = what ? follow("fullPods", what.namespace, redraw, { labelSelector: what.text }) : null;
    }
    const own = (pods?.list ?? []).filter((pod) => what.test?.(pod.metadata.labels ?? {}) ?? true);
    const started = (pod) => (pod.status?.containerStatuses ?? []).filter((each) => each.state?.running || each.state?.terminated || each.lastState?.terminated);
    screen.want(own.flatMap((pod) => started(pod).map((each) => ({ namespace: pod.metadata.namespace, pod: pod.metadata.name, container: each.name }))));
    return own.length;
  }

  function choose(kind, q) {
    const text = new URLSearchParams({ kind, ...(q ? { q } : {}), ...(query.get("ns") ? { ns } : {}) });
    go(`#/logs?${text}`);
  }

  function view() {
    const number = follows();
    const names = ui.kind === "selector" ? [] : [...sources[ui.kind].items.keys()].sort();
    const pick = ui.kind === "selector"
      ? h("form", { key: "by-label", onsubmit: (event) => { event.preventDefault(); choose("selector", draft); } },
        h("label", null, "Labels ", h("input", { type: "text", class: "mono", placeholder: "app=web,tier!=cache", value: draft, oninput: (event) => { draft = event.target.value; } })),
        h("button", { type: "submit", class: "primary" }, "Show"))
      : h("label", { key: "by-name" }, `${ui.kind} `, h("select", { value: ui.q, onchange: (event) => choose(ui.kind, event.target.value) },
        h("option", { value: "" }, "choose…"), names.map((name) => h("option", { key: name, value: name }, name))));
    const lives = ui.kind === "selector" ? [] : [sources[ui.kind]];
    return [
      head("Logs", { note: ui.q ? `${number} pods, as they come and go` : "Lines of several pods in one stream, by labels, Service or Deployment." }),
      h("div", { class: "tools" },
        h("div", { class: "choices", role: "group", "aria-label": "Choose pods by" },
          ["selector", "Service", "Deployment"].map((kind) => h("button", { key: kind, type: "button", "aria-pressed": String(ui.kind === kind), onclick: () => choose(kind, "") }, kind === "selector" ? "Labels" : kind))),
        pick),
      trouble(lives, "these") ?? (pods && trouble([pods], "pods")),
      ...screen.tools([]),
      screen.element,
    ];
  }

  return {
    title: "Logs", view, fill: true,
    close: () => {
      screen.close();
      pods?.close();
      for (const live of Object.values(sources)) live.close();
    },
  };
}
