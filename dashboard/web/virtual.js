// Long lists of which only the visible part exists: rows of one height, or tiles in lines.

import { h, oncePerFrame, patch } from "./dom.js";

/** Lines above and below the visible ones, so that fast scrolling shows no gap. */
const SPARE = 6;

/**
 * A list that scrolls. `line` is the height of a row in pixels; `perLine(width)` how many items share one (1 for rows);
 * `show(item, index)` describes one item. `set(items)` and `redraw()` draw; `element` goes into the page.
 */
export function virtualList({ label, line, perLine = () => 1, show, role = "list", head, onSeen }) {
  const element = document.createElement("div");
  element.className = `virtual ${role}`;
  const body = document.createElement("div");
  body.className = "virtual-body";
  const inner = document.createElement("div");
  inner.className = "virtual-inner";
  inner.$recycle = true;
  body.append(inner);
  body.tabIndex = 0;
  element.setAttribute("role", role === "table" ? "table" : "group");
  element.setAttribute("aria-label", label);
  body.setAttribute("role", role === "table" ? "rowgroup" : "list");
  body.setAttribute("aria-label", label);
  if (role === "table") {
    const top = document.createElement("div");
    top.setAttribute("role", "rowgroup");
    patch(top, h("div", { role: "row", class: "row head-row" }, head.map(([name, kind]) => h("span", { role: "columnheader", class: kind }, name))));
    element.append(top);
    inner.setAttribute("role", "none");
  } else {
    inner.setAttribute("role", "none");
  }
  element.append(body);
  let items = [];
  let seenTimer = 0;

  const draw = oncePerFrame(() => {
    const each = Math.max(1, perLine(body.clientWidth));
    const lines = Math.ceil(items.length / each);
    inner.style.setProperty("height", `${lines * line}px`);
    const first = Math.max(0, Math.floor(body.scrollTop / line) - SPARE);
    const last = Math.min(lines, Math.ceil((body.scrollTop + body.clientHeight) / line) + SPARE);
    if (role === "table") element.setAttribute("aria-rowcount", String(items.length + 1));
    const kids = [];
    for (let at = first; at < last; at++) {
      if (each === 1) {
        const item = items[at];
        if (item !== undefined) kids.push(place(show(item, at), at));
      } else {
        const group = items.slice(at * each, (at + 1) * each);
        kids.push(h("div", { key: `line-${at}`, role: "none", class: "tiles-line", style: { transform: `translateY(${at * line}px)` } },
          group.map((item, index) => show(item, at * each + index))));
      }
    }
    patch(inner, kids);
    if (onSeen) {
      clearTimeout(seenTimer);
      seenTimer = setTimeout(() => onSeen(items.slice(first * each, last * each)), 150);
    }
  });

  function place(row, at) {
    row.props.style = { transform: `translateY(${at * line}px)` };
    if (role === "table") row.props["aria-rowindex"] = String(at + 2);
    return row;
  }

  body.addEventListener("scroll", draw, { passive: true });
  new ResizeObserver(draw).observe(body);
  body.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || role !== "table") return;
    const links = [...inner.querySelectorAll("a.row-link")].sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top);
    const at = links.indexOf(document.activeElement);
    const next = at < 0 ? links.find((link) => link.getBoundingClientRect().top >= body.getBoundingClientRect().top) : links[at + step];
    if (!next) return;
    event.preventDefault();
    next.focus({ preventScroll: true });
    next.closest("[role=row]").scrollIntoView({ block: "nearest" });
  });
  return {
    element,
    set(list) {
      items = list;
      draw();
    },
    redraw: draw,
  };
}
