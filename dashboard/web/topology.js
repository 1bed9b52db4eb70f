// The topology: Services as they are asked right now, by whom, and what they lead to; drawn, and as a table.

import { depths } from "./depend.js";
import { h } from "./dom.js";
import { count } from "./format.js";
import { graphOf, rowsOf, worthDrawing } from "./graph.js";
import { follow } from "./live.js";
import { WORKLOADS } from "./model.js";
import { card, chip, head, table, trouble } from "./parts.js";
import { redraw, scope } from "./state.js";
import { perSecond, traffic } from "./traffic.js";

/** Boxes that are drawn; the table has more. */
const DRAWN_MOST = 60;
/** Rows of the table. */
const ROWS_MOST = 1000;
/** Boxes, and what the frame around the page takes of the window: the pages' names and padding, by the style sheet. */
const WIDE = { width: 214, height: 58, right: 22, down: 46, around: 280 };
const PHONE = { width: 156, height: 58, right: 14, down: 40, around: 56 };
const PHONE_MOST = 760;
/** Pixels of a letter, at most, in a box's name and in its other lines. */
const LETTER = { name: 7.6, small: 6.6 };
const WAYS = [["Ingress", "ingresses"], ["HTTPRoute", "httproutes"]];

/** A rate in words: all, and what fails of it. */
function rateWords(rate) {
  if (!rate) return "";
  return rate.failed > 0 ? `${perSecond(rate.all)}, ${failing(rate)} fail` : perSecond(rate.all);
}

function failing(rate) {
  return `${Math.min(100, Math.ceil((100 * rate.failed) / rate.all))}%`;
}

/** Makes the page. */
export function topology() {
  const open = (name) => follow(name, scope.namespace, redraw);
  const [services, slices] = [open("services"), open("endpointslices")];
  const lives = WORKLOADS.map(({ plural }) => open(plural));
  const ways = WAYS.map(([, plural]) => open(plural));
  const flow = traffic(redraw);
  const ui = { text: "" };
  let known = null;
  addEventListener("resize", redraw);

  /** The map of what is there now; made anew only when something has changed. */
  function graph() {
    const version = [services, slices, ...lives, ...ways].map((each) => each.version).join(" ");
    if (known?.version === version) return known.graph;
    const objects = (list, kinds) => kinds.flatMap((kind, at) => list[at].list.map((object) => ({ kind, object })));
    known = { version, graph: graphOf({
      services: services.list, slices: slices.list,
      workloads: objects(lives, WORKLOADS.map(({ kind }) => kind)), ways: objects(ways, WAYS.map(([kind]) => kind)),
    }) };
    return known.graph;
  }

  const rateOf = (box) => (box.kind === "Service" && box.pods.length > 0 && !flow.error ? flow.of(box.pods) : null);

  /** What is looked for, with all that is tied to it. */
  function sought({ boxes, arrows }) {
    const words = ui.text.toLowerCase();
    if (!words) return { boxes, arrows };
    const hits = new Set(boxes.filter((box) => `${box.namespace}/${box.name} ${box.words}`.toLowerCase().includes(words)).map((box) => box.key));
    const near = new Set(arrows.filter(([from, to]) => hits.has(from) || hits.has(to)).flat());
    const kept = boxes.filter((box) => hits.has(box.key) || near.has(box.key));
    const keys = new Set(kept.map((box) => box.key));
    return { boxes: kept, arrows: arrows.filter(([from, to]) => keys.has(from) && keys.has(to)) };
  }

  function view() {
    const loading = trouble([services, slices], "Services");
    const found = sought(graph());
    const rates = new Map(found.boxes.map((box) => [box.key, rateOf(box)]));
    const drawn = worthDrawing(found, DRAWN_MOST, (box) => rates.get(box.key));
    const note = drawn.boxes.length < found.boxes.length
      ? `${drawn.boxes.length} of ${count(found.boxes.length, "box", "boxes")}: what fails and what is asked most first`
      : count(found.boxes.length, "box", "boxes");
    return [
      head("Topology", { note: "Services, who asks them and what they lead to: ways in by Ingress and HTTPRoute, needs by the annotation coracle.dev/depends-on." }),
      h("div", { class: "tools" }, h("label", { class: "search" }, h("span", { class: "hidden" }, "Filter the map"),
        h("input", { type: "search", placeholder: "Filter by name or host", value: ui.text, oninput: (event) => { ui.text = event.target.value; redraw(); } }))),
      flow.error?.forbidden && h("p", { class: "denied", role: "note" }, `You may not see requests, which nodes count: ${flow.error.message}`),
      WAYS.filter((_, at) => ways[at].state === "forbidden").map(([kind]) => h("p", { class: "denied", role: "note", key: kind }, `You may not see ways in of kind ${kind}.`)),
      loading ?? [
        card("The map", { wide: true, key: "map", extra: h("span", { class: "count" }, note) },
          drawn.boxes.length === 0 ? h("p", { class: "empty" }, "No Services here.")
            : h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Drawing: Services and who asks them" }, drawing(drawn, rates))),
        card("Each Service", { wide: true, key: "each" }, listing(found, rates)),
      ],
    ];
  }

  return { title: "Topology", view, close: () => {
    removeEventListener("resize", redraw);
    [services, slices, ...lives, ...ways, flow].forEach((each) => each.close());
  } };
}

const link = (box) => (box.href ? h("a", { key: box.key, href: box.href }, box.name) : h("span", { key: box.key }, box.name));
const each = (boxes) => (boxes.length === 0 ? "–" : boxes.map((box) => h("div", { key: box.key, class: "need" }, link(box), h("span", { class: "quiet" }, box.kind))));

/** The same in words. */
function listing({ boxes, arrows }, rates) {
  const by = new Map(boxes.map((box) => [box.key, box]));
  const into = new Map(boxes.map((box) => [box.key, []]));
  const out = new Map(boxes.map((box) => [box.key, []]));
  for (const [from, to] of arrows) {
    into.get(to).push(by.get(from));
    out.get(from).push(by.get(to));
  }
  const services = boxes.filter((box) => box.kind === "Service");
  services.sort((a, b) => (rates.get(b.key)?.failed ?? 0) - (rates.get(a.key)?.failed ?? 0) || (rates.get(b.key)?.all ?? 0) - (rates.get(a.key)?.all ?? 0) || (a.key < b.key ? -1 : 1));
  return table("Each Service", [
    ["Service", link],
    ["Namespace", (box) => box.namespace],
    ["Health", (box) => chip(box.health, box.words)],
    ["Requests", (box) => (rates.get(box.key) ? perSecond(rates.get(box.key).all) : "–"), "num"],
    ["Failing", (box) => (rates.get(box.key)?.failed > 0 ? h("span", { class: "flag" }, failing(rates.get(box.key))) : rates.get(box.key) ? "none" : "–"), "num"],
    ["Asked by", (box) => [each(into.get(box.key)), box.outside && h("div", { class: "quiet" }, `outside (${box.outside})`)]],
    ["Asks", (box) => each(out.get(box.key))],
    ["Leads to", (box) => (box.by.length === 0 ? "–" : box.by.map((work) => h("div", { key: work.key, class: "need" }, link(work), chip(work.health))))],
  ], services.slice(0, ROWS_MOST), { keyOf: (box) => box.key, empty: "No Services here." });
}

/** Boxes and arrows, those who ask above what they ask. */
function drawing({ boxes, arrows }, rates) {
  const size = innerWidth > PHONE_MOST ? WIDE : PHONE;
  const perRow = Math.max(1, Math.floor((Math.min(innerWidth - size.around, 1440) + size.right) / (size.width + size.right)));
  const rows = rowsOf(boxes.map((box) => box.key), arrows, perRow, depths);
  const place = new Map(rows.flatMap((row, y) => row.map((key, x) => [key, [x * (size.width + size.right), y * (size.height + size.down)]])));
  const width = Math.max(...rows.map((row) => row.length)) * (size.width + size.right) - size.right;
  const height = rows.length * (size.height + size.down) - size.down;
  return h("svg", { class: "needs map", viewBox: `-4 -4 ${width + 8} ${height + 8}`, width: String(width + 8), height: String(height + 8), role: "group", "aria-label": `Map of ${count(boxes.length, "box", "boxes")} and ${count(arrows.length, "arrow")}` },
    arrows.map(([from, to, health]) => arrow(size, `${from} ${to}`, place.get(from), place.get(to), rates.get(to)?.failed > 0 ? "bad" : health)),
    boxes.map((box) => boxOf(size, box, place.get(box.key), rates.get(box.key))));
}

function arrow(size, key, [x, y], [u, v], health) {
  const down = v > y;
  const [begin, end] = down ? [y + size.height, v] : [y, v + size.height];
  const [from, to] = [x + size.width / 2, u + size.width / 2];
  const half = (begin + end) / 2;
  const tip = down ? -6 : 6;
  return h("g", { key, class: `arrow ${health}`, "aria-hidden": "true" },
    h("path", { class: `arrow ${health}`, d: `M${from} ${begin}C${from} ${half} ${to} ${half} ${to} ${end}` }),
    h("path", { class: `point ${health}`, d: `M${to} ${end}l-4 ${tip}h8z` }));
}

function boxOf(size, box, [x, y], rate) {
  const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const asked = rateWords(rate);
  const letters = (pixels) => Math.floor((size.width - 20) / pixels);
  // What is read out is what is seen; the spaces keep the lines' words apart.
  const text = (down, kind, words) => h("text", { class: kind, x: String(x + 12), y: String(y + down) }, `${words} `);
  const inner = [
    h("rect", { x: String(x), y: String(y), width: String(size.width), height: String(size.height), rx: "8" }),
    text(18, "name", short(box.name, letters(LETTER.name))),
    text(34, "kind", short(`${box.kind} · ${box.namespace}`, letters(LETTER.small))),
    text(50, rate?.failed > 0 ? "rate failing" : "rate", short(asked ? `${asked} · ${box.words}` : box.words, letters(LETTER.small))),
  ];
  const look = `box ${rate?.failed > 0 ? "bad" : box.health}`;
  return box.href ? h("a", { key: box.key, class: look, href: box.href }, inner) : h("g", { key: box.key, class: look }, inner);
}
