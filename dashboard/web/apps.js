// Applications: what belongs together, what it is for, whose it is, and what needs what.

import { h } from "./dom.js";
import { DESCRIPTION, OWNER, applications, depths, links, note } from "./depend.js";
import { follow } from "./live.js";
import { WORKLOADS, workloadHealth, workloadLink } from "./model.js";
import { card, chip, facts, head, table, trouble } from "./parts.js";
import { redraw, scope } from "./state.js";

/** Boxes that are drawn; the tables have all. */
const DRAWN_MOST = 80;
const BOX = { width: 190, height: 40, right: 26, down: 44 };
const WORDS = { ok: ["ok", "is there"], missing: ["bad", "is missing"], nobody: ["warn", "leads to nobody"] };

/** Makes the page. */
export function apps() {
  const lives = WORKLOADS.map(({ plural }) => follow(plural, scope.namespace, redraw));
  // What is needed may be in another namespace; who may not look there sees those of this one.
  const services = follow("services", scope.namespace, redraw);

  function view() {
    const loading = trouble([...lives, services], "workloads");
    const all = WORKLOADS.flatMap(({ kind }, at) => lives[at].list.map((object) => ({ kind, object })));
    const needed = links(all, services.list);
    const found = applications(all);
    return [
      head("Applications", { note: "By the labels app.kubernetes.io/part-of, app.kubernetes.io/name or app; what they need by the annotation coracle.dev/depends-on." }),
      loading,
      needed.length > 0 && card("What needs what", { wide: true, key: "drawing" }, h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Drawing: what needs what" }, drawing(all, needed))),
      h("div", { class: "cards two" }, found.slice(0, 300).map((app) => part(app, needed))),
      !loading && found.length === 0 && h("p", { class: "empty" }, "No applications yet."),
    ];
  }

  return { title: "Applications", view, close: () => [...lives, services].forEach((live) => live.close()) };
}

function part(app, needed) {
  const said = (name) => [...new Set(app.parts.map(({ object }) => note(object, name)).filter((text) => text))].join(" · ");
  const of = (key) => needed.filter((each) => each.from === key);
  return card(app.name, { key: app.key, wide: app.parts.length > 1, extra: h("span", { class: "count" }, app.namespace) },
    facts([["What it is for", said(DESCRIPTION)], ["Owner", said(OWNER)]]),
    table(`Parts of ${app.name}`, [
      ["Part", ({ kind, object }) => h("a", { href: workloadLink(kind, object) }, object.metadata.name)],
      ["Kind", ({ kind }) => kind],
      ["Health", ({ kind, object }) => {
        const state = workloadHealth(kind, object);
        return chip(state.health, state.paused ? "paused" : undefined);
      }],
      ["Needs", ({ key }) => (of(key).length === 0 ? "–" : of(key).map((each) => h("div", { key: each.service, class: "need" }, h("a", { class: "mono", href: `#/services/${each.service}` }, each.service), " ", chip(...WORDS[each.state]))))],
    ], app.parts, { keyOf: (each) => each.key }));
}

/** Boxes for workloads and for Services that nobody is behind, the needed below what needs it. */
function drawing(all, needed) {
  const boxes = new Map();
  const arrows = [];
  const add = (key, box) => boxes.has(key) || boxes.set(key, box);
  const workloads = new Map(all.map((each) => [`${each.kind}/${each.object.metadata.namespace}/${each.object.metadata.name}`, each]));
  const box = (key) => {
    const { kind, object } = workloads.get(key);
    add(key, { name: object.metadata.name, kind, health: workloadHealth(kind, object).health, href: workloadLink(kind, object) });
  };
  for (const { from, service, state, by } of needed) {
    if (boxes.size >= DRAWN_MOST) break;
    box(from);
    by.forEach(box);
    if (by.length === 0) add(service, { name: service, kind: "Service", health: WORDS[state][0], href: `#/services/${service}` });
    for (const to of by.length > 0 ? by : [service]) arrows.push([from, to, WORDS[state][0]]);
  }
  const depth = depths([...boxes.keys()], arrows);
  const rows = [];
  for (const [key, at] of depth) (rows[at] ??= []).push(key);
  const place = new Map(rows.flatMap((row, y) => row.map((key, x) => [key, [x * (BOX.width + BOX.right), y * (BOX.height + BOX.down)]])));
  const width = Math.max(...rows.map((row) => row.length)) * (BOX.width + BOX.right);
  const height = rows.length * (BOX.height + BOX.down);
  const words = needed.map((each) => `${each.from} needs ${each.service}, which ${WORDS[each.state][1]}`).join("; ");
  return h("svg", { class: "needs", viewBox: `-4 -4 ${width + 8} ${height}`, width: String(width), height: String(height), role: "img", "aria-label": words },
    arrows.map(([from, to, health]) => {
      const [[x, y], [u, v]] = [place.get(from), place.get(to)];
      const [begin, end] = [y + BOX.height, v];
      const half = (begin + end) / 2;
      return h("path", { class: `arrow ${health}`, d: `M${x + BOX.width / 2} ${begin}C${x + BOX.width / 2} ${half} ${u + BOX.width / 2} ${half} ${u + BOX.width / 2} ${end}` });
    }),
    [...place].map(([key, [x, y]]) => {
      const { name, kind, health } = boxes.get(key);
      const short = name.length > 24 ? `${name.slice(0, 23)}…` : name;
      return h("g", { class: `box ${health}` },
        h("rect", { x: String(x), y: String(y), width: String(BOX.width), height: String(BOX.height), rx: "8" }),
        h("text", { x: String(x + 12), y: String(y + 17) }, short),
        h("text", { class: "kind", x: String(x + 12), y: String(y + 32) }, kind));
    }));
}
