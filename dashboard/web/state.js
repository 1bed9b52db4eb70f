// What all pages share: the namespace that is looked at, the theme, and the wish to be drawn again.

import { oncePerFrame } from "./dom.js";

let draw = () => {};

/** Draws the page again, in the next frame. */
export const redraw = oncePerFrame(() => draw());

/** Says how the page is drawn. */
export function drawWith(work) {
  draw = work;
}

/** What is looked at: namespace "" is all. */
export const scope = { namespace: sessionStorage.getItem("coracle.namespace") ?? "", user: null };

/** Looks at another namespace; "" is all. */
export function setNamespace(namespace) {
  scope.namespace = namespace;
  sessionStorage.setItem("coracle.namespace", namespace);
}

/** Goes to another page. */
export function go(address) {
  location.hash = address.replace(/^#/, "");
}

/** The theme that was chosen: "", "light" or "dark". */
export function theme() {
  return localStorage.getItem("coracle.theme") ?? "";
}

/** Chooses a theme; "" is the system's. */
export function setTheme(name) {
  if (name) localStorage.setItem("coracle.theme", name);
  else localStorage.removeItem("coracle.theme");
  applyTheme();
}

/** Makes the page wear its theme. */
export function applyTheme() {
  const name = theme();
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
}
