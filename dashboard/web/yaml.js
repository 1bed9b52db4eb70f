// Objects as YAML, a comparison of texts, and an editor that applies: the server reads the YAML, so nothing here does.

import { ApiError, call, may, path } from "./api.js";
import { h } from "./dom.js";
import { attempt, button } from "./parts.js";
import { redraw } from "./state.js";

const MANAGER = "coracle-dashboard";
/** Lines of a comparison that are worked out exactly; more are shown as taken away and put in. */
const CELLS_MAX = 4_000_000;

const PLAIN = /^[A-Za-z_/]([\w./@:,-]*[\w./@-])?( ([\w./()@:,-]*[\w./()@-]))*$/;
const WORDS = /^(true|false|null|yes|no|on|off|y|n|~)$/i;

function scalar(value) {
  if (typeof value !== "string") return JSON.stringify(value);
  return PLAIN.test(value) && !WORDS.test(value) ? value : JSON.stringify(value);
}

/** Writes a value as YAML. Pure. */
export function toYaml(value, indent = "") {
  if (Array.isArray(value)) {
    if (value.length === 0) return " []\n";
    return `\n${value.map((item) => `${indent}-${inList(item, indent)}`).join("")}`;
  }
  if (value !== null && typeof value === "object") {
    const entries = Object.entries(value);
    if (entries.length === 0) return " {}\n";
    return `\n${entries.map(([key, item]) => `${indent}${scalar(key)}:${toYaml(item, Array.isArray(item) ? indent : `${indent}  `)}`).join("")}`;
  }
  if (typeof value === "string" && value.includes("\n") && !/[^\n\x20-\x7e\u00a0-\uffff]/.test(value) && !/^\s/.test(value)) {
    const end = value.endsWith("\n\n") ? "+" : value.endsWith("\n") ? "" : "-";
    const body = value.endsWith("\n") ? value.slice(0, -1) : value;
    return ` |${end}\n${body.split("\n").map((line) => (line ? `${indent}${indent ? "" : "  "}${line}` : "")).join("\n")}\n`;
  }
  return ` ${scalar(value)}\n`;
}

function inList(item, indent) {
  const text = toYaml(item, `${indent}  `);
  const isMap = item !== null && typeof item === "object" && !Array.isArray(item) && Object.keys(item).length > 0;
  return isMap ? ` ${text.slice(1 + indent.length + 2)}` : text;
}

/** What a person edits: without what the server keeps for itself. */
export function editable(object) {
  const copy = structuredClone(object);
  for (const name of ["managedFields", "uid", "creationTimestamp", "generation", "resourceVersion", "selfLink"]) delete copy.metadata[name];
  delete copy.status;
  const notes = copy.metadata.annotations;
  if (notes) {
    // Server-side apply leaves what is not mentioned to whoever owns it: kubectl's own note stays.
    delete notes["kubectl.kubernetes.io/last-applied-configuration"];
    if (Object.keys(notes).length === 0) delete copy.metadata.annotations;
  }
  return copy;
}

/** Compares texts line by line: [[mark, line]], mark " ", "-" or "+". Pure. */
export function compare(before, after) {
  const a = before.split("\n");
  const b = after.split("\n");
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let endA = a.length;
  let endB = b.length;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) {
    endA--;
    endB--;
  }
  const middle = [];
  const left = a.slice(start, endA);
  const right = b.slice(start, endB);
  if (left.length * right.length > CELLS_MAX) {
    middle.push(...left.map((line) => ["-", line]), ...right.map((line) => ["+", line]));
  } else {
    const width = right.length + 1;
    const best = new Uint32Array((left.length + 1) * width);
    for (let i = left.length - 1; i >= 0; i--) {
      for (let j = right.length - 1; j >= 0; j--) {
        best[i * width + j] = left[i] === right[j] ? best[(i + 1) * width + j + 1] + 1 : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
      }
    }
    let i = 0;
    let j = 0;
    while (i < left.length || j < right.length) {
      if (i < left.length && j < right.length && left[i] === right[j]) {
        middle.push([" ", left[i++]]);
        j++;
      } else if (i < left.length && (j === right.length || best[(i + 1) * width + j] >= best[i * width + j + 1])) middle.push(["-", left[i++]]);
      else middle.push(["+", right[j++]]);
    }
  }
  return [...a.slice(0, start).map((line) => [" ", line]), ...middle, ...a.slice(endA).map((line) => [" ", line])];
}

/** The changed lines with three around them; a gap is null. */
function hunks(lines) {
  const near = lines.map((_, at) => lines.slice(Math.max(0, at - 3), at + 4).some(([mark]) => mark !== " "));
  const out = [];
  lines.forEach((line, at) => {
    if (near[at]) out.push(line);
    else if (out.length > 0 && out.at(-1) !== null) out.push(null);
  });
  return out;
}

/** An editor of one object. `view()` describes it. */
export function yamlEditor({ version, plural, namespace, name }) {
  const group = version.includes("/") ? version.split("/")[0] : "";
  const address = path(version, plural, namespace, name);
  const ui = { loaded: null, text: "", edited: null, preview: null, error: null, conflict: false, full: false };

  async function load() {
    try {
      ui.loaded = await call(address);
      ui.text = text(ui.loaded);
      ui.error = null;
    } catch (error) {
      ui.error = error;
    }
    redraw();
  }

  const text = (object) => toYaml(ui.full ? object : editable(object)).slice(1);

  async function apply(dry, force) {
    const query = new URLSearchParams({ fieldManager: MANAGER, ...(dry ? { dryRun: "All" } : {}), ...(force ? { force: "true" } : {}) });
    return call(`${address}?${query}`, { method: "PATCH", body: ui.edited, type: "application/apply-patch+yaml" });
  }

  async function preview(force = false) {
    ui.error = null;
    ui.conflict = false;
    try {
      const now = await call(address);
      const then = await apply(true, force);
      ui.preview = { force, lines: hunks(compare(toYaml(editable(now)).slice(1), toYaml(editable(then)).slice(1))) };
    } catch (error) {
      ui.preview = null;
      ui.error = error;
      ui.conflict = error instanceof ApiError && error.code === 409;
    }
    redraw();
  }

  async function commit() {
    const force = ui.preview.force;
    if (await attempt(`${name} applied`, () => apply(false, force))) {
      ui.edited = null;
      ui.preview = null;
      await load();
    }
  }

  load();
  return {
    view() {
      const allowed = may("patch", group, plural, namespace ?? "", redraw);
      const editing = ui.edited !== null;
      const set = (changes) => () => {
        Object.assign(ui, changes);
        redraw();
      };
      return h("div", { class: "yaml", key: "yaml" },
        h("div", { class: "tools" },
          !editing && button("Edit", () => { ui.full = false; ui.text = text(ui.loaded); set({ edited: ui.text })(); }, { allowed: ui.loaded ? allowed : false, kind: "primary" }),
          !editing && button("Refresh", load),
          !editing && h("label", null, h("input", { type: "checkbox", checked: ui.full, onchange: (event) => { ui.full = event.target.checked; ui.text = text(ui.loaded); redraw(); } }), " with status"),
          editing && button("Show changes", () => preview(), { kind: ui.preview ? "" : "primary" }),
          editing && ui.preview && button("Apply", commit, { kind: "primary" }),
          editing && ui.conflict && button("Take over these fields", () => preview(true), { kind: "danger" }),
          editing && button("Cancel", set({ edited: null, preview: null, error: null, conflict: false }))),
        ui.error && h("p", { class: "denied", role: "alert" }, ui.error.message),
        ui.preview && diff(ui.preview.lines),
        editing
          ? h("textarea", { key: "edit", class: "code", spellcheck: "false", "aria-label": `YAML of ${name}`, value: ui.edited, rows: "30", oninput: (event) => { ui.edited = event.target.value; ui.preview = null; redraw(); } })
          : h("pre", { key: "show", class: "code", tabindex: "0", role: "region", "aria-label": `YAML of ${name}` }, ui.text || "Loading…"));
    },
  };
}

function diff(lines) {
  if (lines.length === 0) return h("p", { class: "empty", role: "status" }, "No changes.");
  const words = { "+": "added", "-": "removed" };
  return h("pre", { class: "code diff", role: "region", "aria-label": "Changes", tabindex: "0" }, lines.map((line, at) =>
    (line ? h("span", { key: at, class: { "+": "plus", "-": "minus" }[line[0]] ?? "" }, words[line[0]] && h("span", { class: "hidden" }, `${words[line[0]]}: `), `${line[0]} ${line[1]}\n`) : h("span", { key: at, class: "gap" }, "⋯\n"))));
}
