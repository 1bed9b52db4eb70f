// What the objects mean: health, reasons, who belongs to whom. Pure.

import { age } from "./format.js";

const DONE = new Set(["Completed", "Succeeded"]);
const WAITING = new Set(["Pending", "ContainerCreating", "PodInitializing", "Terminating", "SchedulingGated"]);
/** How long a pod may be on its way before that is worth a word. */
const PATIENCE_MS = 20_000;

/** How a pod of the lists does: ok, done, wait, warn or bad. */
export function podHealth(pod) {
  if (DONE.has(pod.status)) return "done";
  if (pod.deleting || WAITING.has(pod.status) || pod.status.startsWith("Init:")) {
    return /BackOff|Err|Error/.test(pod.status) ? "bad" : "wait";
  }
  if (pod.status === "Running") {
    const [ready, all] = pod.ready.split("/");
    return ready === all ? "ok" : "warn";
  }
  return "bad";
}

/** The words for a health, for people who do not see colours. */
export const HEALTH_WORDS = { ok: "healthy", done: "completed", wait: "on its way", warn: "not ready", bad: "failing" };

/** The condition of an object. */
export function condition(object, type) {
  return object.status?.conditions?.find((each) => each.type === type);
}

/** How a node does: { health, word, since, why }. */
export function nodeHealth(node) {
  const ready = condition(node, "Ready");
  const cordoned = node.spec?.unschedulable === true;
  if (ready?.status !== "True") {
    const why = ready?.message ?? "the node has not reported yet";
    return { health: "bad", word: "NotReady", since: ready?.lastTransitionTime ?? node.metadata.creationTimestamp, why };
  }
  const pressure = node.status.conditions.find((each) => each.type !== "Ready" && each.status === "True");
  if (pressure) return { health: "warn", word: pressure.type, since: pressure.lastTransitionTime, why: pressure.message };
  if (cordoned) return { health: "warn", word: "Ready, cordoned", since: ready.lastTransitionTime, why: "no new pods are placed here" };
  return { health: "ok", word: "Ready", since: ready.lastTransitionTime, why: "" };
}

/** The kinds of workloads: collection, kind, group, and how to read wanted and ready. */
export const WORKLOADS = [
  { plural: "deployments", kind: "Deployment", version: "apps/v1" },
  { plural: "statefulsets", kind: "StatefulSet", version: "apps/v1" },
  { plural: "daemonsets", kind: "DaemonSet", version: "apps/v1" },
  { plural: "jobs", kind: "Job", version: "batch/v1" },
  { plural: "cronjobs", kind: "CronJob", version: "batch/v1" },
];

/** How a workload does: { wanted, ready, health, why }. */
export function workloadHealth(kind, object) {
  const { spec = {}, status = {} } = object;
  const of = (wanted, ready, why) => {
    const health = ready >= wanted ? "ok" : ready > 0 ? "warn" : "bad";
    return { wanted, ready, health, why: health === "ok" ? "" : why };
  };
  if (kind === "Deployment" || kind === "StatefulSet") {
    const wanted = spec.replicas ?? 1;
    const ready = status.readyReplicas ?? 0;
    const failed = (status.conditions ?? []).find((each) =>
      (each.type === "ReplicaFailure" && each.status === "True") || (each.type === "Progressing" && each.status === "False"));
    const result = of(wanted, ready, failed?.message ?? `${wanted - ready} of ${wanted} pods not ready`);
    if (spec.paused) return { ...result, paused: true };
    if (failed) return { ...result, health: "bad", why: failed.message };
    // A rollout under way is no fault as long as it moves.
    if (result.health === "bad" && (status.observedGeneration ?? 0) < (object.metadata.generation ?? 0)) result.health = "wait";
    return result;
  }
  if (kind === "DaemonSet") {
    const wanted = status.desiredNumberScheduled ?? 0;
    const ready = status.numberReady ?? 0;
    return of(wanted, ready, `${wanted - ready} of ${wanted} pods not ready`);
  }
  if (kind === "Job") {
    const failed = condition(object, "Failed");
    const done = status.succeeded ?? 0;
    const wanted = spec.completions ?? 1;
    if (failed?.status === "True") return { wanted, ready: done, health: "bad", why: failed.message ?? failed.reason };
    return { wanted, ready: done, health: done >= wanted ? "done" : "wait", why: "" };
  }
  const active = (status.active ?? []).length;
  return { wanted: active, ready: active, health: spec.suspend ? "wait" : "ok", why: spec.suspend ? "suspended" : "" };
}

/** `Kind/name` of the workload that a pod of the lists belongs to; a ReplicaSet's pods belong to its Deployment. */
export function workloadOf(pod) {
  if (!pod.owner) return `Pod/${pod.name}`;
  const hash = pod.labels["pod-template-hash"];
  if (pod.owner.kind === "ReplicaSet" && hash && pod.owner.name.endsWith(`-${hash}`)) {
    return `Deployment/${pod.owner.name.slice(0, -hash.length - 1)}`;
  }
  return `${pod.owner.kind}/${pod.owner.name}`;
}

/** Whether labels have all that a selector of a Service wants; an empty selector has nobody. */
export function selects(selector, labels) {
  const wanted = Object.entries(selector ?? {});
  return wanted.length > 0 && wanted.every(([key, value]) => labels[key] === value);
}

/** Whether labels match a LabelSelector; an empty one matches all. */
export function matches(selector, labels) {
  const simple = Object.entries(selector?.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
  return simple && (selector?.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    if (operator === "In") return values.includes(labels[key]);
    if (operator === "NotIn") return !values.includes(labels[key]);
    return operator === "Exists" ? key in labels : !(key in labels);
  });
}

/** A LabelSelector as the text of a query. */
export function selectorText(selector) {
  const simple = Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const more = (selector?.matchExpressions ?? []).map(({ key, operator, values = [] }) => {
    if (operator === "Exists") return key;
    if (operator === "DoesNotExist") return `!${key}`;
    return `${key} ${operator === "In" ? "in" : "notin"} (${values.join(",")})`;
  });
  return [...simple, ...more].join(",");
}

/** The name by which pods reach a Service. */
export function dnsName(service) {
  return `${service.metadata.name}.${service.metadata.namespace}.svc.cluster.local`;
}

/** The endpoints of a Service: [{ address, ready, pod, node, ports }]. */
export function endpointsOf(service, slices) {
  const mine = slices.filter((slice) => slice.metadata.namespace === service.metadata.namespace
    && slice.metadata.labels?.["kubernetes.io/service-name"] === service.metadata.name);
  return mine.flatMap((slice) => (slice.endpoints ?? []).map((endpoint) => ({
    address: endpoint.addresses?.[0] ?? "",
    ready: endpoint.conditions?.ready !== false,
    pod: endpoint.targetRef?.kind === "Pod" ? endpoint.targetRef.name : "",
    node: endpoint.nodeName ?? "",
    ports: (slice.ports ?? []).map((port) => port.port),
  })));
}

/** Why a pod is not as it should be, from the whole object: the most telling message there is. */
export function podReason(pod) {
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  for (const each of statuses) {
    const waiting = each.state?.waiting;
    if (waiting?.message) {
      const last = each.lastState?.terminated;
      const before = last ? ` Last time: ${exitWords(last)}` : "";
      return `${each.name}: ${waiting.reason}: ${waiting.message}${before}`;
    }
    const ended = each.state?.terminated;
    if (ended && ended.exitCode !== 0) return `${each.name}: ${exitWords(ended)}`;
  }
  const failing = (pod.status?.conditions ?? []).find((each) => each.status === "False" && each.message);
  return pod.status?.message || failing?.message || "";
}

/** How a container ended, in words. */
export function exitWords(ended) {
  const message = (ended.message ?? "").trim().split("\n").slice(0, 3).join(" ");
  return `${ended.reason ?? "ended"}, exit code ${ended.exitCode}${message ? `: ${message}` : ""}`;
}

/** All that is wrong, worst first: [{ health, kind, namespace, name, what, why, link, pod }]. */
export function problems({ nodes, pods, workloads, services, slices, now = Date.now() }) {
  const found = [];
  for (const node of nodes) {
    const { health, word, since, why } = nodeHealth(node);
    if (health !== "bad") continue;
    found.push({ health, kind: "Node", name: node.metadata.name, what: `${word} for ${age(since, now)}`, why, link: `#/nodes/${node.metadata.name}` });
  }
  for (const { kind, object } of workloads) {
    const state = workloadHealth(kind, object);
    if (state.health !== "bad") continue;
    const { namespace, name } = object.metadata;
    found.push({ health: "bad", kind, namespace, name, what: `${state.ready} of ${state.wanted} ready`, why: state.why, link: workloadLink(kind, object) });
  }
  for (const pod of pods) {
    const health = podHealth(pod);
    const old = now - new Date(pod.created).getTime() > PATIENCE_MS;
    if (health !== "bad" && !(old && (health === "warn" || health === "wait") && !pod.deleting)) continue;
    const what = health === "warn" ? `${pod.ready} ready` : pod.status;
    found.push({ health: health === "bad" ? "bad" : "warn", kind: "Pod", namespace: pod.namespace, name: pod.name, what, why: "", link: podLink(pod), pod });
  }
  for (const service of services) {
    if (!service.spec?.selector || service.spec.type === "ExternalName") continue;
    if (endpointsOf(service, slices).some((endpoint) => endpoint.ready)) continue;
    const { namespace, name } = service.metadata;
    const text = Object.entries(service.spec.selector).map(([key, value]) => `${key}=${value}`).join(",");
    found.push({ health: "warn", kind: "Service", namespace, name, what: "no ready endpoints", why: `no ready pod has the labels ${text}`, link: serviceLink(service) });
  }
  const order = { bad: 0, warn: 1 };
  return found.sort((a, b) => order[a.health] - order[b.health]);
}

/** The page of a pod. */
export function podLink({ namespace, name }) {
  return `#/pods/${namespace}/${name}`;
}

/** The page of a Service. */
export function serviceLink({ metadata }) {
  return `#/services/${metadata.namespace}/${metadata.name}`;
}

/** The page of a workload. */
export function workloadLink(kind, { metadata }) {
  return `#/workloads/${kind}/${metadata.namespace}/${metadata.name}`;
}

/** How many pods are how: { ok: 3, … }. */
export function tally(pods) {
  const counts = { ok: 0, wait: 0, warn: 0, bad: 0, done: 0 };
  for (const pod of pods) counts[podHealth(pod)]++;
  return counts;
}
