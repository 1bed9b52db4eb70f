// The frame: who is there, which page, which namespace.

import { call, forgetRights, hasToken, setToken, tokenNamespace, whenLost } from "./api.js";
import { apps } from "./apps.js";
import { h, patch } from "./dom.js";
import { closeAll, follow, health } from "./live.js";
import { logs } from "./logs.js";
import { network } from "./network.js";
import { node, nodes } from "./nodes.js";
import { overview } from "./overview.js";
import { pod } from "./pod.js";
import { pods } from "./pods.js";
import { service, services } from "./services.js";
import { applyTheme, drawWith, go, redraw, scope, setNamespace, setTheme, theme } from "./state.js";
import { tenants } from "./tenants.js";
import { topology } from "./topology.js";
import { workload, workloads } from "./workloads.js";

/** Address, name and the lines of its picture. */
const NAV = [
  ["", "Overview", "M3 9l7-6 7 6v8h-5v-5H8v5H3z"],
  ["apps", "Applications", "M3 3h5v5H3zM12 3h5v5h-5zM8 13h5v5H8zM5.500 8l4 5M14.500 8l-4 5"],
  ["workloads", "Workloads", "M3 6l7-3 7 3-7 3zM3 10l7 3 7-3M3 14l7 3 7-3"],
  ["pods", "Pods", "M3 3h6v6H3zM11 3h6v6h-6zM3 11h6v6H3zM11 11h6v6h-6z"],
  ["services", "Services", "M10 3v5M10 8l-6 5M10 8l6 5M8 3h4M2 13h4v4H2zM14 13h4v4h-4z"],
  ["topology", "Topology", "M7 2h6v4H7zM2 14h6v4H2zM12 14h6v4h-6zM10 6v4M5 14v-4h10v4"],
  ["nodes", "Nodes", "M3 3h14v6H3zM3 11h14v6H3zM6 6h1M6 14h1"],
  ["logs", "Logs", "M3 5h14M3 10h10M3 15h12"],
  ["network", "Network", "M10 2l7 3v5c0 4-3 7-7 8-4-1-7-4-7-8V5zM7 10l2 2 4-4"],
  ["tenants", "Tenants", "M7 9a3 3 0 100-6 3 3 0 000 6zM1.500 17c0-4 2-6 5.500-6s5.500 2 5.500 6M13 9a2.500 2.500 0 100-5M14.500 11c2.500.500 4 2.500 4 6"],
];
const PAGES = { "": [overview], apps: [apps], workloads: [workloads, workload, 3], pods: [pods, pod, 2], services: [services, service, 2], topology: [topology], nodes: [nodes, node, 1], logs: [logs], network: [network], tenants: [tenants] };
const HEALTH = { live: ["ok", "live"], loading: ["wait", "loading"], broken: ["bad", "reconnecting"] };

const root = document.getElementById("app");
let page = null;
let namespaces = null;
let login = null;
let menu = false;

/** The address: { name, parts, query }. */
function address() {
  const [place, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name = "", ...parts] = place.split("/").map(decodeURIComponent);
  return { name, parts, query: new URLSearchParams(query) };
}

function openPage() {
  const { name, parts, query } = address();
  const [list, one, least] = PAGES[name] ?? PAGES[""];
  const before = page;
  const make = one && parts.length >= least ? one : list;
  page = make(parts, query);
  page.key = location.hash;
  before?.close();
  document.title = `${page.title} · Coracle`;
  redraw();
  if (before) requestAnimationFrame(() => requestAnimationFrame(() => {
    const focused = document.activeElement;
    if (!focused || focused === document.body || !focused.closest("[role=tablist]")) document.getElementById("title")?.focus({ preventScroll: true });
  }));
}

function frame() {
  if (login) return loginPage();
  const { name } = address();
  const [state, words] = HEALTH[health()];
  const names = namespaces?.list.map((each) => each.metadata.name) ?? [];
  const chosen = scope.namespace;
  const change = (event) => {
    setNamespace(event.target.value.trim());
    openPage();
  };
  const picker = namespaces?.state === "forbidden"
    ? h("input", { key: "ns-text", type: "text", value: chosen, placeholder: "namespace", onchange: change })
    : h("select", { key: "ns-list", value: chosen, onchange: change }, h("option", { value: "" }, "all namespaces"),
      (names.includes(chosen) || !chosen ? names : [chosen, ...names]).map((each) => h("option", { key: each, value: each }, each)));
  return [
    h("header", { class: "bar", key: "bar" },
      h("button", { type: "button", class: "menu", "aria-expanded": String(menu), "aria-controls": "nav", onclick: () => { menu = !menu; redraw(); } }, "Menu"),
      h("a", { class: "brand", href: "#/" }, h("svg", { viewBox: "0 0 32 32", "aria-hidden": "true" }, h("path", { d: "M4 15h24c0 7-5.300 11.500-12 11.500S4 22 4 15z" }), h("path", { class: "mast", d: "M16 4v9M16 4l6.500 6H16" })), "Coracle"),
      h("label", { class: "ns" }, h("span", { class: "hidden" }, "Namespace"), picker),
      h("span", { class: `link ${state}`, role: "status", title: "The connection to the server" }, h("span", { class: `dot ${state}`, "aria-hidden": "true" }), h("span", { class: "link-words" }, words)),
      h("label", { class: "themes" }, h("span", { class: "hidden" }, "Theme"), h("select", { value: theme(), onchange: (event) => { setTheme(event.target.value); redraw(); } },
        [["", "System"], ["light", "Light"], ["dark", "Dark"]].map(([value, word]) => h("option", { key: value, value }, word)))),
      h("span", { class: "who", title: (scope.user?.groups ?? []).join(", ") }, scope.user?.username ?? ""),
      hasToken() && h("button", { type: "button", onclick: signOut }, "Sign out")),
    h("nav", { id: "nav", key: "nav", class: menu ? "open" : "", "aria-label": "Pages" }, h("ul", null, NAV.map(([to, word, picture]) =>
      h("li", { key: word }, h("a", { href: `#/${to}`, "aria-current": to === name ? "page" : undefined, onclick: () => { menu = false; } },
        h("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, h("path", { d: picture })), word))))),
    h("main", { id: "main", key: "main", tabindex: "-1", class: page?.fill ? "fill" : "" }, h("div", { key: page?.key, class: "page" }, page?.view())),
  ];
}

function loginPage() {
  const submit = (event) => {
    event.preventDefault();
    setToken(new FormData(event.target).get("token"));
    begin();
  };
  return h("main", { class: "login", id: "main", key: "login" },
    h("form", { onsubmit: submit },
      h("h1", null, "Coracle"),
      h("p", null, "Sign in with a token of this cluster. It stays in this tab and goes to this server alone."),
      login.error && h("p", { class: "denied", role: "alert" }, login.error),
      h("label", null, "Token", h("textarea", { name: "token", required: true, rows: "4", class: "mono", autocomplete: "off", spellcheck: "false" })),
      h("button", { type: "submit", class: "primary" }, "Sign in"),
      h("details", null, h("summary", null, "Where do I get one?"),
        h("pre", { class: "code", tabindex: "0", role: "region", "aria-label": "Commands" }, "kubectl -n kube-system create serviceaccount viewer\nkubectl create clusterrolebinding viewer --clusterrole=view \\\n  --serviceaccount=kube-system:viewer\nkubectl -n kube-system create token viewer"),
        h("p", null, "A client certificate of the cluster in this browser works as well, without a token."))));
}

function leave() {
  page?.close();
  page = null;
  namespaces?.close();
  namespaces = null;
  closeAll();
  forgetRights();
}

function signOut() {
  setToken("");
  leave();
  login = { error: "" };
  redraw();
}

/** Finds out who is there, and shows the page or the door. */
async function begin() {
  let review;
  try {
    const body = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
    review = await call("/apis/authentication.k8s.io/v1/selfsubjectreviews", { method: "POST", body });
  } catch (error) {
    const tried = hasToken();
    if (error.code === 401) setToken("");
    // Without a token one is nobody in particular, who may not even ask this.
    const stranger = error.code === 401 || (error.forbidden && !tried);
    login = { error: stranger ? (tried ? "The server does not know this token, or it has ended." : "") : error.message };
    return redraw();
  }
  login = null;
  scope.user = review.status.userInfo;
  if (!scope.namespace && tokenNamespace()) await startInOwnNamespace();
  namespaces = follow("namespaces", "", redraw);
  openPage();
}

/** Somebody who may not see all namespaces begins in their own. */
async function startInOwnNamespace() {
  try {
    await call("/api/v1/pods?limit=1", { accept: "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io" });
  } catch (error) {
    if (error.forbidden) setNamespace(tokenNamespace());
  }
}

whenLost(() => {
  if (login || !page) return;
  leave();
  setToken("");
  login = { error: "The server does not know this token any more." };
  redraw();
});

applyTheme();
drawWith(() => patch(root, frame()));
const given = /[#&]token=([^&]+)/.exec(location.hash);
if (given) {
  setToken(decodeURIComponent(given[1]));
  history.replaceState(null, "", "#/");
}
addEventListener("hashchange", () => {
  menu = false;
  if (page) openPage();
});
addEventListener("keydown", (event) => {
  if (event.key !== "/" || /INPUT|TEXTAREA|SELECT/.test(event.target.tagName) || event.target.closest?.(".terminal")) return;
  const search = document.querySelector("main input[type=search]");
  if (search) {
    event.preventDefault();
    search.focus();
  }
});
setInterval(redraw, 15_000);
begin();
