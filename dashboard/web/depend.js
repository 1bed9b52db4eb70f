// Applications, and what needs what: by labels and annotations that people put on their objects. Pure.

import { selects } from "./model.js";

const APP = ["app.kubernetes.io/part-of", "app.kubernetes.io/name", "app"];
export const DESCRIPTION = "kubernetes.io/description";
export const OWNER = "coracle.dev/owner";
export const NEEDS = "coracle.dev/depends-on";

/** The template of a workload's pods. */
export function templateOf(object) {
  return object.spec?.template ?? object.spec?.jobTemplate?.spec?.template ?? {};
}

/** An annotation of a workload, or of its pods. */
export function note(object, name) {
  return object.metadata.annotations?.[name] ?? templateOf(object).metadata?.annotations?.[name] ?? "";
}

/** The application that a workload is part of: by its labels or its pods', else it is one by itself. */
export function appOf(object) {
  for (const labels of [object.metadata.labels, templateOf(object).metadata?.labels]) {
    const name = APP.map((label) => labels?.[label]).find((value) => value);
    if (name) return name;
  }
  return object.metadata.name;
}

/** The Services that a workload says it needs, as `namespace/name`: a name is of its own namespace, `name.namespace` of that. */
export function needs(object) {
  const words = note(object, NEEDS).split(/[\s,]+/).filter((word) => word);
  return [...new Set(words.map((word) => {
    const [name, namespace] = word.split(".");
    // The API has one Service, for all namespaces.
    return `${namespace ?? (name === "kubernetes" ? "default" : object.metadata.namespace)}/${name}`;
  }))];
}

const keyOf = ({ kind, object }) => `${kind}/${object.metadata.namespace}/${object.metadata.name}`;

/** Workloads ({ kind, object }) by application: [{ key, namespace, name, parts: [{ key, kind, object }] }], by name. */
export function applications(workloads) {
  const found = new Map();
  for (const each of workloads) {
    const { namespace } = each.object.metadata;
    const name = appOf(each.object);
    const key = `${namespace}/${name}`;
    if (!found.has(key)) found.set(key, { key, namespace, name, parts: [] });
    found.get(key).parts.push({ ...each, key: keyOf(each) });
  }
  for (const app of found.values()) app.parts.sort((a, b) => (a.key < b.key ? -1 : 1));
  return [...found.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}

/**
 * What needs what: [{ from, service, state, by }]. `from` is a workload's key, `by` those whose pods the Service leads to.
 * `state`: ok; missing, there is no such Service; nobody, it has no workload behind it (and no endpoints of its own).
 */
export function links(workloads, services) {
  const known = new Map(services.map((service) => [`${service.metadata.namespace}/${service.metadata.name}`, service]));
  return workloads.flatMap((each) => needs(each.object).map((name) => {
    const service = known.get(name);
    const within = (other) => other.object.metadata.namespace === service?.metadata.namespace;
    const leads = (other) => within(other) && selects(service.spec?.selector, templateOf(other.object).metadata?.labels ?? {});
    const by = service ? workloads.filter(leads).map(keyOf) : [];
    // A Service without a selector leads to what somebody gave it by hand.
    const byHand = service && Object.keys(service.spec?.selector ?? {}).length === 0;
    return { from: keyOf(each), service: name, state: !service ? "missing" : by.length > 0 || byHand ? "ok" : "nobody", by };
  }));
}

/** How far down each name is drawn: below all that need it. Rings are cut where they are closed. */
export function depths(names, arrows) {
  const into = new Map(names.map((name) => [name, []]));
  for (const [from, to] of arrows) into.get(to)?.push(from);
  const depth = new Map();
  const under = new Set();
  const look = (name) => {
    if (depth.has(name)) return depth.get(name);
    if (under.has(name)) return -1;
    under.add(name);
    const found = Math.max(-1, ...into.get(name).map(look)) + 1;
    under.delete(name);
    depth.set(name, found);
    return found;
  };
  names.forEach(look);
  return depth;
}
