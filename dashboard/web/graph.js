// The map of Services: who asks them, what they lead to, how much they are asked and how much of it fails. Pure.

import { links } from "./depend.js";
import { endpointsOf, selects, workloadHealth, workloadLink } from "./model.js";

const keyOf = (kind, { namespace, name }) => `${kind}/${namespace}/${name}`;

/** The Services that an Ingress or HTTPRoute leads to, as `namespace/name`, each once. */
export function backendsOf(kind, { metadata, spec = {} }) {
  const own = (name) => (name ? [`${metadata.namespace}/${name}`] : []);
  const found = kind === "Ingress"
    ? [...own(spec.defaultBackend?.service?.name), ...(spec.rules ?? []).flatMap((rule) => (rule.http?.paths ?? []).flatMap((each) => own(each.backend?.service?.name)))]
    : (spec.rules ?? []).flatMap((rule) => rule.backendRefs ?? []).filter((each) => (each.kind ?? "Service") === "Service").map((each) => `${each.namespace ?? metadata.namespace}/${each.name}`);
  return [...new Set(found)];
}

/** The names under which an Ingress or HTTPRoute is asked from outside. */
export function hostsOf(kind, { spec = {} }) {
  const hosts = kind === "Ingress" ? (spec.rules ?? []).map((rule) => rule.host) : spec.hostnames ?? [];
  return [...new Set(hosts.filter((host) => host))];
}

/** What groups have by a key, looked up once. */
function grouped(items, key) {
  const found = new Map();
  for (const each of items) {
    const name = key(each);
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(each);
  }
  return found;
}

function serviceBox(service, slices, workloads) {
  const { metadata, spec = {} } = service;
  const endpoints = endpointsOf(service, slices);
  const ready = endpoints.filter((each) => each.ready).length;
  const elsewhere = spec.type === "ExternalName";
  const byHand = Object.keys(spec.selector ?? {}).length === 0;
  const state = elsewhere ? ["done", "elsewhere"] : byHand && endpoints.length === 0 ? ["wait", "by hand"]
    : ready === 0 ? ["warn", "nobody answers"] : [ready === endpoints.length ? "ok" : "warn", `${ready} of ${endpoints.length} answer`];
  const by = workloads.filter(({ object }) => selects(spec.selector, (object.spec?.template ?? object.spec?.jobTemplate?.spec?.template)?.metadata?.labels ?? {}));
  return {
    key: keyOf("Service", metadata), kind: "Service", namespace: metadata.namespace, name: metadata.name,
    href: `#/services/${metadata.namespace}/${metadata.name}`, health: state[0], words: state[1],
    pods: endpoints.filter((each) => each.pod).map((each) => `${metadata.namespace}/${each.pod}`),
    by: by.map(({ kind, object }) => ({ key: keyOf(kind, object.metadata), kind, name: object.metadata.name, href: workloadLink(kind, object), health: workloadHealth(kind, object).health })),
    outside: ["NodePort", "LoadBalancer"].includes(spec.type) ? spec.type : "",
  };
}

/**
 * The map: { boxes, arrows }. Boxes are Services, ways in (Ingress, HTTPRoute), workloads that ask and have no Service
 * of their own, and Services that are asked for and missing. Arrows are [from, to, health].
 * `workloads` and `ways` are lists of { kind, object }.
 */
export function graphOf({ services, slices, workloads, ways }) {
  const slicesBy = grouped(slices, ({ metadata }) => `${metadata.namespace}/${metadata.labels?.["kubernetes.io/service-name"]}`);
  const workloadsBy = grouped(workloads, ({ object }) => object.metadata.namespace);
  const boxes = new Map();
  const arrows = new Map();
  const fronts = new Map();
  for (const service of services) {
    const { namespace, name } = service.metadata;
    const box = serviceBox(service, slicesBy.get(`${namespace}/${name}`) ?? [], workloadsBy.get(namespace) ?? []);
    boxes.set(box.key, box);
    for (const { key } of box.by) fronts.set(key, [...(fronts.get(key) ?? []), box.key]);
  }
  const lead = (from, name) => {
    const [namespace, service] = name.split("/");
    const to = `Service/${name}`;
    if (!boxes.has(to)) boxes.set(to, { key: to, kind: "Service", namespace, name: service, href: `#/services/${name}`, health: "bad", words: "is missing", pods: [], by: [], outside: "" });
    const { health } = boxes.get(to);
    // Two Services of one workload may need each other's; nobody asks itself.
    if (from !== to) arrows.set(`${from} ${to}`, [from, to, health === "bad" || health === "warn" ? health : "ok"]);
  };
  for (const { kind, object } of ways) {
    const { namespace, name } = object.metadata;
    const key = keyOf(kind, object.metadata);
    const hosts = hostsOf(kind, object);
    boxes.set(key, { key, kind, namespace, name, href: "", health: "done", words: hosts[0] ? hosts[0] + (hosts.length > 1 ? ` +${hosts.length - 1}` : "") : "any host", pods: [], by: [], outside: kind });
    for (const to of backendsOf(kind, object)) lead(key, to);
  }
  const byKey = new Map(workloads.map((each) => [keyOf(each.kind, each.object.metadata), each]));
  for (const { from, service } of links(workloads, services)) {
    const { kind, object } = byKey.get(from);
    if (!fronts.has(from)) boxes.set(from, { key: from, kind, namespace: object.metadata.namespace, name: object.metadata.name, href: workloadLink(kind, object), health: workloadHealth(kind, object).health, words: "has no Service", pods: [], by: [], outside: "" });
    for (const front of fronts.get(from) ?? [from]) lead(front, service);
  }
  return { boxes: [...boxes.values()], arrows: [...arrows.values()] };
}

/** Those that are worth a drawing, at most `most`: what fails, what is not well, what is asked, what is tied to others. */
export function worthDrawing({ boxes, arrows }, most, rateOf) {
  const tied = new Set(arrows.flatMap(([from, to]) => [from, to]));
  const worth = (box) => {
    const rate = rateOf(box);
    const unwell = { bad: 2, warn: 1 }[box.health] ?? 0;
    return [rate?.failed ?? 0, unwell, rate?.all ?? 0, tied.has(box.key) ? 1 : 0];
  };
  const ranked = boxes.map((box) => ({ box, worth: worth(box) }));
  ranked.sort((a, b) => {
    const at = a.worth.findIndex((each, index) => each !== b.worth[index]);
    return at < 0 ? (a.box.key < b.box.key ? -1 : 1) : b.worth[at] - a.worth[at];
  });
  const kept = new Set(ranked.slice(0, most).map(({ box }) => box.key));
  return { boxes: boxes.filter((box) => kept.has(box.key)), arrows: arrows.filter(([from, to]) => kept.has(from) && kept.has(to)) };
}

/** Where boxes go, `perRow` beside each other at most: rows of keys, who asks above what is asked, and below all what is by itself. */
export function rowsOf(keys, arrows, perRow, depthOf) {
  const depth = depthOf(keys, arrows);
  const tied = new Set(arrows.flatMap(([from, to]) => [from, to]));
  const layers = [];
  for (const key of keys) if (tied.has(key)) (layers[Math.max(0, depth.get(key))] ??= []).push(key);
  layers.push(keys.filter((key) => !tied.has(key)));
  const place = new Map();
  const rows = [];
  for (const layer of layers.filter((each) => each)) {
    const middle = (key) => {
      const above = arrows.filter(([from, to]) => to === key && place.has(from)).map(([from]) => place.get(from));
      return above.length === 0 ? Infinity : above.reduce((sum, each) => sum + each, 0) / above.length;
    };
    const by = new Map(layer.map((key) => [key, middle(key)]));
    layer.sort((a, b) => (by.get(a) === by.get(b) ? (a < b ? -1 : 1) : by.get(a) - by.get(b)));
    for (let from = 0; from < layer.length; from += perRow) {
      const row = layer.slice(from, from + perRow);
      row.forEach((key, at) => place.set(key, at));
      rows.push(row);
    }
  }
  return rows;
}
