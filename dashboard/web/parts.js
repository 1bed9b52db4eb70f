// Parts that several pages use.

import { h, patch } from "./dom.js";
import { HEALTH_WORDS } from "./model.js";
import { age, moment } from "./format.js";

/** A coloured dot with a word, so that nobody has to see the colour. */
export function chip(health, word) {
  return h("span", { class: `chip ${health}` }, h("span", { class: "dot", "aria-hidden": "true" }), word ?? HEALTH_WORDS[health]);
}

/** A dot alone; the word beside it says the same. */
export function dot(health) {
  return h("span", { class: `dot ${health}`, "aria-hidden": "true" });
}

/** How long ago, with the moment as a tooltip. */
export function since(text) {
  return text ? h("time", { datetime: text, title: moment(text) }, age(text)) : "–";
}

/** A page's head: title, what it belongs to, and its actions. */
export function head(title, { crumb, chips, actions, note } = {}) {
  return h("header", { class: "head" },
    h("div", { class: "head-words" },
      crumb && h("p", { class: "crumb" }, crumb),
      h("h1", { id: "title", tabindex: "-1" }, title, " ", chips),
      note && h("p", { class: "note" }, note)),
    actions && h("div", { class: "actions" }, actions));
}

/** A framed section with a title. */
export function card(title, props, ...kids) {
  const { extra, key, wide } = props ?? {};
  return h("section", { class: `card${wide ? " wide" : ""}`, key, "aria-label": title },
    h("div", { class: "card-head" }, h("h2", null, title), extra), kids);
}

/** A table. Columns: [name, cell(item), class]. */
export function table(label, columns, items, { empty = "Nothing here.", keyOf } = {}) {
  if (items.length === 0) return h("p", { class: "empty" }, empty);
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": `Table: ${label}` },
    h("table", null,
      h("thead", null, h("tr", null, columns.map(([name, , kind]) => h("th", { scope: "col", class: kind }, name || h("span", { class: "hidden" }, "Actions"))))),
      h("tbody", null, items.map((item, index) => h("tr", { key: keyOf ? keyOf(item) : index },
        columns.map(([name, cell, kind]) => h("td", { class: kind, "data-label": name }, cell(item))))))));
}

/** What stands where something may not be seen, has failed, or is on its way; null when all is well. */
export function trouble(lives, what) {
  for (const live of lives) {
    if (live.state === "forbidden") return h("p", { class: "denied", role: "note" }, `You may not see ${what}: ${live.error.message}`);
  }
  for (const live of lives) {
    if (live.state === "broken") return h("p", { class: "denied", role: "alert" }, `${what} cannot be read: ${live.error.message}. Trying again…`);
  }
  const first = lives.some((live) => live.state === "loading" && live.items.size === 0);
  return first ? h("p", { class: "loading", role: "status" }, `Loading ${what}…`) : null;
}

/** A bar of parts: [{ health, count, word }]. */
export function stack(label, parts) {
  const all = parts.reduce((sum, part) => sum + part.count, 0) || 1;
  const words = parts.filter((part) => part.count > 0).map((part) => `${part.count} ${part.word}`).join(", ");
  return h("div", { class: "stack", role: "img", "aria-label": `${label}: ${words || "none"}` },
    parts.filter((part) => part.count > 0).map((part) =>
      h("span", { class: part.health, key: part.health, title: `${part.count} ${part.word}`, style: { width: `${(100 * part.count) / all}%` } })));
}

/** Use against a limit. */
export function meter(label, used, limit, words) {
  const part = limit > 0 ? Math.min(1, used / limit) : 0;
  const health = part > 0.9 ? "bad" : part > 0.75 ? "warn" : "ok";
  return h("span", { class: "meter", title: words },
    h("span", { class: "meter-bar", role: "meter", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(Math.round(part * 100)), "aria-valuetext": words },
      h("span", { class: health, style: { width: `${Math.max(part * 100, used > 0 ? 2 : 0)}%` } })),
    h("span", { class: "meter-words" }, words));
}

/** A curve of the last values. */
export function curve(label, values, say) {
  const width = 240;
  const height = 56;
  const most = Math.max(...values, 1e-12);
  const step = values.length > 1 ? width / (values.length - 1) : width;
  const points = values.map((value, index) => `${(index * step).toFixed(1)},${(height - 3 - (value / most) * (height - 8)).toFixed(1)}`);
  const last = values.at(-1) ?? 0;
  return h("figure", { class: "curve" },
    h("figcaption", null, h("span", null, label), h("strong", null, say(last))),
    h("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${label}: now ${say(last)}, at most ${say(most)}`, preserveAspectRatio: "none" },
      points.length > 1 && h("polygon", { points: `0,${height} ${points.join(" ")} ${width},${height}` }),
      h("polyline", { points: points.length > 1 ? points.join(" ") : `0,${height - 3} ${width},${height - 3}` })));
}

/** Tabs, with arrow keys. `tabs`: [[id, name]]. */
export function tabs(label, list, current, choose) {
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = list.findIndex(([id]) => id === current);
    const next = list[(at + step + list.length) % list.length][0];
    choose(next);
    requestAnimationFrame(() => requestAnimationFrame(() => document.getElementById(`tab-${next}`)?.focus()));
  };
  return h("div", { class: "tabs", role: "tablist", "aria-label": label, onkeydown: move },
    list.map(([id, name]) => h("button", { key: id, id: `tab-${id}`, role: "tab", type: "button", "aria-selected": String(id === current),
      "aria-controls": "panel", tabindex: id === current ? "0" : "-1", onclick: () => choose(id) }, name)));
}

/** A button. `allowed` false says that RBAC forbids it; undefined that it is not known yet. */
export function button(name, act, { kind = "", allowed = true, why, ...more } = {}) {
  const title = allowed === false ? "Your roles do not allow this" : why;
  return h("button", { type: "button", class: kind, disabled: allowed !== true, title, onclick: act, ...more }, name);
}

/** Says something for a moment, to eyes and ears. */
export function toast(text, health = "ok") {
  const place = document.getElementById("toasts");
  const note = document.createElement("div");
  note.className = `toast ${health}`;
  note.textContent = text;
  place.append(note);
  setTimeout(() => note.remove(), health === "bad" ? 9000 : 4500);
}

/** Does something and says how it went. */
export async function attempt(words, work) {
  try {
    await work();
    toast(words);
    return true;
  } catch (error) {
    toast(error.message, "bad");
    return false;
  }
}

/** Asks before something is done. `body` is a description; `fields` gives what the form holds. Resolves to null when refused. */
export function ask({ title, body, confirm, danger }) {
  return new Promise((resolve) => {
    const box = document.createElement("dialog");
    const done = (value) => {
      box.close();
      box.remove();
      resolve(value);
    };
    const submit = (event) => {
      event.preventDefault();
      done(Object.fromEntries(new FormData(event.target)));
    };
    box.addEventListener("cancel", () => done(null));
    box.setAttribute("aria-labelledby", "dialog-title");
    patch(box, h("form", { onsubmit: submit },
      h("h2", { id: "dialog-title" }, title), body,
      h("div", { class: "actions" },
        h("button", { type: "button", onclick: () => done(null) }, "Cancel"),
        h("button", { type: "submit", class: danger ? "danger" : "primary" }, confirm))));
    document.body.append(box);
    box.showModal();
  });
}

/** Labels as small marks. */
export function labels(map) {
  const entries = Object.entries(map ?? {});
  return entries.length === 0 ? "–" : h("span", { class: "labels" }, entries.map(([key, value]) => h("code", { key }, value ? `${key}=${value}` : key)));
}

/** A list of terms: [[term, what]]; nothing is left out silently but what is null. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, what]) => what !== null && what !== undefined && what !== "")
    .map(([term, what]) => h("div", { key: term }, h("dt", null, term), h("dd", null, what))));
}

/** The events of something, newest first. */
export function eventTable(events, empty = "No events.") {
  const time = (event) => event.lastTimestamp || event.series?.lastObservedTime || event.eventTime || event.metadata.creationTimestamp;
  const sorted = [...events].sort((a, b) => (time(a) < time(b) ? 1 : -1)).slice(0, 200);
  return table("Events", [
    ["When", (event) => since(time(event)), "num"],
    ["Type", (event) => chip(event.type === "Warning" ? "warn" : "ok", event.type)],
    ["Reason", (event) => event.reason],
    ["About", (event) => `${event.involvedObject.kind}/${event.involvedObject.name}`],
    ["Message", (event) => event.message, "long"],
    ["Times", (event) => event.count ?? event.series?.count ?? 1, "num"],
  ], sorted, { empty, keyOf: (event) => event.metadata.uid });
}
