// Services: their names, addresses and endpoints, and who answers.

import { h } from "./dom.js";
import { follow } from "./live.js";
import { dnsName, endpointsOf, serviceLink } from "./model.js";
import { card, chip, eventTable, facts, head, labels, since, table, tabs, trouble } from "./parts.js";
import { go, redraw, scope } from "./state.js";
import { perSecond, traffic } from "./traffic.js";
import { yamlEditor } from "./yaml.js";

function healthOf(service, endpoints) {
  if (service.spec.type === "ExternalName") return chip("done", "elsewhere");
  if (!service.spec.selector && endpoints.length === 0) return chip("wait", "by hand");
  const ready = endpoints.filter((endpoint) => endpoint.ready).length;
  if (ready === 0) return chip("warn", "nobody answers");
  return chip(ready === endpoints.length ? "ok" : "warn", `${ready} of ${endpoints.length} answer`);
}

function ports(service) {
  return (service.spec.ports ?? []).map((port) => `${port.name ? `${port.name} ` : ""}${port.port}${port.nodePort ? ` (node port ${port.nodePort})` : ""}/${port.protocol}`);
}

/** What the pods behind a Service are asked, and how much of it fails. */
function requests(flow, service, endpoints) {
  if (flow.error?.forbidden) return h("span", { class: "quiet", title: flow.error.message }, "may not see");
  const rate = flow.of(endpoints.filter((each) => each.pod).map((each) => `${service.metadata.namespace}/${each.pod}`));
  if (!rate) return "–";
  const failing = rate.failed > 0;
  return [perSecond(rate.all), failing && [" ", h("span", { class: "flag" }, `${Math.ceil((100 * rate.failed) / rate.all)}% fail`)]];
}

/** Makes the list. */
export function services() {
  const flow = traffic(redraw);
  const live = follow("services", scope.namespace, redraw);
  const slices = follow("endpointslices", scope.namespace, redraw);
  const ui = { text: "" };

  function view() {
    const words = ui.text.toLowerCase();
    const items = live.list.filter((service) => `${service.metadata.namespace}/${service.metadata.name} ${service.spec.clusterIP ?? ""}`.toLowerCase().includes(words));
    return [
      head("Services"),
      h("div", { class: "tools" }, h("label", { class: "search" }, h("span", { class: "hidden" }, "Filter Services"),
        h("input", { type: "search", placeholder: "Filter by name or address", value: ui.text, oninput: (event) => { ui.text = event.target.value; redraw(); } }))),
      card("Services", { wide: true, extra: h("span", { class: "count" }, items.length) }, trouble([live, slices], "Services") ?? table("Services", [
        ["Name", (each) => h("a", { href: serviceLink(each) }, each.metadata.name)],
        ["Namespace", (each) => each.metadata.namespace],
        ["Endpoints", (each) => healthOf(each, endpointsOf(each, slices.list))],
        ["Requests", (each) => requests(flow, each, endpointsOf(each, slices.list))],
        ["DNS name", (each) => h("span", { class: "mono" }, dnsName(each)), "long"],
        ["Type", (each) => each.spec.type],
        ["Address", (each) => h("span", { class: "mono" }, each.spec.type === "ExternalName" ? each.spec.externalName : each.spec.clusterIP === "None" ? "headless" : each.spec.clusterIP)],
        ["Ports", (each) => ports(each).map((port) => h("div", { key: port }, port))],
      ], items.slice(0, 1000), { keyOf: (each) => each.metadata.uid })),
    ];
  }

  return { title: "Services", view, close: () => [live, slices, flow].forEach((each) => each.close()) };
}

/** Makes the page of a Service. */
export function service([namespace, name, tab = "about"]) {
  const live = follow("services", namespace, redraw, { fieldSelector: `metadata.name=${name}` });
  const slices = follow("endpointslices", namespace, redraw, { labelSelector: `kubernetes.io/service-name=${name}` });
  const flow = traffic(redraw);
  const events = follow("events", namespace, redraw, { fieldSelector: `involvedObject.kind=Service,involvedObject.name=${name}` });
  let editor = null;
  const choose = (id) => go(`#/services/${namespace}/${name}${id === "about" ? "" : `/${id}`}`);

  function view() {
    const object = live.list[0];
    const crumb = [h("a", { href: "#/services" }, "Services"), " / ", namespace];
    if (!object) return [head(name, { crumb }), live.state === "live" ? h("p", { class: "empty" }, "There is no such Service (any more).") : trouble([live], "this Service")];
    const endpoints = endpointsOf(object, slices.list);
    const logs = `#/logs?${new URLSearchParams({ kind: "Service", q: `${namespace}/${name}`, ns: namespace })}`;
    return [
      head(name, { crumb, chips: healthOf(object, endpoints), actions: [object.spec.selector && h("a", { class: "button", href: logs }, "Logs")] }),
      tabs("Parts", [["about", "About"], ["events", "Events"], ["yaml", "YAML"]], tab, choose),
      h("div", { id: "panel", role: "tabpanel", "aria-labelledby": `tab-${tab}`, key: tab }, panel(object, endpoints)),
    ];
  }

  function panel(object, endpoints) {
    if (tab === "events") return card("Events", { wide: true }, trouble([events], "events") ?? eventTable(events.list));
    if (tab === "yaml") {
      editor ??= yamlEditor({ version: "v1", plural: "services", namespace, name });
      return editor.view();
    }
    const { spec, status } = object;
    const outside = (status?.loadBalancer?.ingress ?? []).map((each) => each.ip ?? each.hostname);
    const web = (spec.ports ?? []).filter((port) => port.nodePort && port.protocol === "TCP");
    return h("div", { class: "cards two" },
      card("Service", {}, facts([
        ["DNS name", h("code", null, dnsName(object))],
        ["From its namespace", h("code", null, name)],
        ["Address", h("code", null, (spec.clusterIPs ?? [spec.clusterIP]).join(", "))],
        ["Type", spec.type],
        ["Ports", ports(object).map((port) => h("div", { key: port }, port))],
        ["Requests", requests(flow, object, endpoints)],
        ["From outside", outside.length > 0 ? outside.join(", ") : web.length > 0 ? web.map((port) => h("div", { key: port.nodePort }, `port ${port.nodePort} of any node`)) : "no"],
        ["Session affinity", spec.sessionAffinity === "ClientIP" ? "by client address" : "none"],
        ["Made", [since(object.metadata.creationTimestamp), " ago"]],
        ["Selector", labels(spec.selector)],
      ])),
      card("Endpoints", {}, trouble([slices], "endpoints") ?? table("Endpoints", [
        ["Address", (each) => h("span", { class: "mono" }, each.address)],
        ["Ready", (each) => chip(each.ready ? "ok" : "warn", each.ready ? "ready" : "not ready")],
        ["Pod", (each) => (each.pod ? h("a", { href: `#/pods/${namespace}/${each.pod}` }, each.pod) : "–")],
        ["Node", (each) => each.node || "–"],
        ["Ports", (each) => each.ports.join(", ")],
      ], endpoints.slice(0, 500), { keyOf: (each) => `${each.address}${each.pod}`, empty: "Nobody: no pod has the labels of the selector, or none is ready." })));
  }

  return { title: `${name} · Services`, view, close: () => [live, slices, events, flow].forEach((each) => each.close()) };
}
