// One pod: containers, imports, grants, use, restarts, events, logs, terminal, YAML.

import { call, may, path } from "./api.js";
import { h } from "./dom.js";
import { bytes, cores, moment, quantity } from "./format.js";
import { follow, poll } from "./live.js";
import { logView } from "./logs.js";
import { exitWords, podReason } from "./model.js";
import { ask, attempt, button, card, chip, curve, eventTable, facts, head, labels, meter, since, table, tabs, trouble } from "./parts.js";
import { go, redraw } from "./state.js";
import { terminal } from "./terminal.js";
import { yamlEditor } from "./yaml.js";

const USE_EVERY_MS = 5000;
const SAMPLES_MAX = 120;

/** Makes the page of a pod. */
export function pod([namespace, name, tab = "about"]) {
  const live = follow("fullPods", namespace, redraw, { fieldSelector: `metadata.name=${name}` });
  const events = follow("events", namespace, redraw, { fieldSelector: `involvedObject.kind=Pod,involvedObject.name=${name}` });
  const history = { cpu: [], memory: [] };
  const use = poll(USE_EVERY_MS, () => call(path("metrics.k8s.io/v1beta1", "pods", namespace, name)), () => {
    const containers = use.value?.containers ?? [];
    for (const what of ["cpu", "memory"]) {
      if (use.error === null) history[what].push(containers.reduce((sum, each) => sum + quantity(each.usage[what]), 0));
      if (history[what].length > SAMPLES_MAX) history[what].shift();
    }
    redraw();
  });
  const parts = {};
  const choose = (id) => go(`#/pods/${namespace}/${name}${id === "about" ? "" : `/${id}`}`);

  function view() {
    const object = live.list[0];
    const crumb = [h("a", { href: "#/pods" }, "Pods"), " / ", namespace];
    if (!object) {
      const note = live.state === "live" ? h("p", { class: "empty" }, "There is no such pod (any more).") : trouble([live], "this pod");
      return [head(name, { crumb }), note];
    }
    const { health, word } = state(object);
    const remove = button("Delete", () => removePod(object), { kind: "danger", allowed: may("delete", "", "pods", namespace, redraw) });
    return [
      head(name, { crumb, chips: chip(health, word), actions: [remove], note: podReason(object) }),
      tabs("Parts of the pod", [["about", "About"], ["events", "Events"], ["logs", "Logs"], ["terminal", "Terminal"], ["yaml", "YAML"]], tab, choose),
      h("div", { id: "panel", role: "tabpanel", "aria-labelledby": `tab-${tab}`, key: tab }, panel(object)),
    ];
  }

  function panel(object) {
    if (tab === "events") return card("Events", { wide: true }, trouble([events], "events") ?? eventTable(events.list, "No events. They are kept for an hour."));
    if (tab === "logs") {
      parts.logs ??= logView({ namespace, name });
      return parts.logs.view();
    }
    if (tab === "terminal") {
      parts.terminal ??= terminal({ namespace, name, containers: running(object) });
      return parts.terminal.view(running(object));
    }
    if (tab === "yaml") {
      parts.yaml ??= yamlEditor({ version: "v1", plural: "pods", namespace, name });
      return parts.yaml.view();
    }
    return about(object);
  }

  function about(object) {
    const { metadata, spec, status = {} } = object;
    const owner = metadata.ownerReferences?.find((each) => each.controller);
    return h("div", { class: "cards two" },
      card("Pod", {}, facts([
        ["Node", spec.nodeName ? h("a", { href: `#/nodes/${spec.nodeName}` }, spec.nodeName) : "not placed yet"],
        ["Address", h("span", { class: "mono" }, (status.podIPs ?? []).map((each) => each.ip).join(", ") || "–")],
        ["Belongs to", owner ? `${owner.kind}/${owner.name}` : "nobody"],
        ["Made", [since(metadata.creationTimestamp), " ago"]],
        ["Service account", spec.serviceAccountName],
        ["Quality of service", status.qosClass],
        ["Isolation", spec.runtimeClassName === "coracle-process" ? "a process of its own" : metadata.annotations?.["coracle.dev/isolation"] ?? "the host's process"],
        ["Labels", labels(metadata.labels)],
      ])),
      card("Use", { extra: use.value && h("span", { class: "count" }, `over ${use.value.window}`) },
        use.error && history.cpu.length === 0 ? h("p", { class: "empty" }, use.error.forbidden ? `You may not see what it uses: ${use.error.message}` : "Nothing measured yet.")
          : h("div", { class: "curves" }, curve("CPU, cores", history.cpu, cores), curve("Memory", history.memory, bytes))),
      card("Containers", { wide: true }, containers(object)),
      card("Imports", { wide: true }, imports(object)),
      card("Grants", { wide: true }, grants(object)),
      card("Conditions", {}, table("Conditions", [
        ["Condition", (each) => each.type],
        ["Is", (each) => chip(each.status === "True" ? "ok" : "warn", each.status === "True" ? "yes" : "no")],
        ["Since", (each) => since(each.lastTransitionTime), "num"],
        ["Why", (each) => each.message || each.reason || ""],
      ], status.conditions ?? [], { keyOf: (each) => each.type })),
      card("Restarts", {}, restarts(object)));
  }

  function containers(object) {
    const { spec, status = {} } = object;
    const every = [...(spec.initContainers ?? []), ...spec.containers, ...(spec.ephemeralContainers ?? [])];
    const states = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? []), ...(status.ephemeralContainerStatuses ?? [])];
    const used = (name, what) => {
      const found = use.value?.containers.find((each) => each.name === name);
      return found ? quantity(found.usage[what]) : NaN;
    };
    const against = (container, what, say) => {
      const now = used(container.name, what);
      const limit = quantity(container.resources?.limits?.[what]);
      if (Number.isFinite(limit)) return meter(`${what} of ${container.name}`, now || 0, limit, `${say(now)} / ${say(limit)}`);
      const flag = what === "memory" ? h("span", { class: "flag", title: "Set resources.limits.memory: without it, this container can take what the node has" }, "no limit") : h("span", { class: "quiet" }, "no limit");
      return [say(now), " ", flag];
    };
    return table("Containers", [
      ["Name", (each) => h("strong", null, each.name)],
      ["State", (each) => stateOf(states.find((one) => one.name === each.name))],
      ["Image", (each) => {
        const id = states.find((one) => one.name === each.name)?.imageID ?? "";
        return [h("span", { class: "mono" }, each.image), id && h("br"), id && h("span", { class: "mono quiet", title: id }, id.replace(/^.*@/, "").slice(0, 19))];
      }, "long"],
      ["Restarts", (each) => states.find((one) => one.name === each.name)?.restartCount ?? 0, "num"],
      ["CPU use / limit", (each) => against(each, "cpu", cores)],
      ["Memory use / limit", (each) => against(each, "memory", bytes)],
      ["Ports", (each) => (each.ports ?? []).map((port) => `${port.containerPort}/${port.protocol ?? "TCP"}`).join(", ") || "–"],
    ], every, { keyOf: (each) => each.name });
  }

  function imports(object) {
    const notes = object.metadata.annotations ?? {};
    const rows = [...(object.spec.initContainers ?? []), ...object.spec.containers].map((container) => ({
      name: container.name,
      imports: notes[`imports.coracle.dev/${container.name}`],
      exports: notes[`exports.coracle.dev/${container.name}`],
    })).filter((row) => row.imports !== undefined);
    const list = (text) => h("span", { class: "labels" }, (text || "").split(", ").filter(Boolean).map((each) => h("code", { key: each }, each)));
    return table("Imports", [
      ["Container", (row) => row.name],
      ["Imports", (row) => list(row.imports), "long"],
      ["Exports", (row) => list(row.exports), "long"],
    ], rows, { empty: "Known once the images are there.", keyOf: (row) => row.name });
  }

  function grants(object) {
    const notes = object.metadata.annotations ?? {};
    const { spec } = object;
    const rows = [];
    rows.push(["Network", "Outside", notes["coracle.dev/egress"] ?? "nothing but the cluster, unless the namespace's annotation grants it"]);
    for (const container of [...(spec.initContainers ?? []), ...spec.containers]) {
      for (const mount of container.volumeMounts ?? []) {
        const volume = spec.volumes?.find((each) => each.name === mount.name) ?? {};
        const kind = Object.keys(volume).find((key) => key !== "name") ?? "volume";
        const source = volume[kind]?.name ?? volume[kind]?.secretName ?? volume[kind]?.claimName ?? volume[kind]?.path ?? "";
        rows.push(["Mount", `${container.name} ${mount.mountPath}`, `${kind} ${source}${mount.readOnly ? ", read only" : ""}`]);
      }
      for (const each of container.env ?? []) {
        const from = each.valueFrom ? Object.keys(each.valueFrom)[0] : "";
        const ref = from ? each.valueFrom[from] : null;
        rows.push(["Variable", `${container.name} ${each.name}`, from ? `from ${from.replace("KeyRef", "").replace("Ref", "")} ${ref.name ?? ""} ${ref.key ?? ref.fieldPath ?? ref.resource ?? ""}` : each.value ?? ""]);
      }
      for (const each of container.envFrom ?? []) rows.push(["Variables", container.name, `all of ${each.configMapRef ? "ConfigMap" : "Secret"} ${(each.configMapRef ?? each.secretRef)?.name}`]);
    }
    return table("Grants", [["What", (row) => row[0]], ["Where", (row) => h("span", { class: "mono" }, row[1])], ["Grants", (row) => row[2], "long"]], rows);
  }

  function restarts(object) {
    const ended = [...(object.status?.initContainerStatuses ?? []), ...(object.status?.containerStatuses ?? [])]
      .flatMap((each) => [each.lastState?.terminated, each.state?.terminated].filter(Boolean).map((one) => ({ name: each.name, count: each.restartCount, ...one })));
    const noted = events.list.filter((event) => ["BackOff", "Killing", "Started", "Unhealthy", "OOMKilling"].includes(event.reason));
    return [
      table("Ends", [
        ["Container", (each) => each.name],
        ["Ended", (each) => (each.finishedAt ? h("span", { title: moment(each.finishedAt) }, since(each.finishedAt), " ago") : "–")],
        ["Restarts", (each) => each.count, "num"],
        ["How", (each) => exitWords(each), "long"],
      ], ended, { empty: "No container has ended." }),
      noted.length > 0 && eventTable(noted),
    ];
  }

  return {
    title: `${name} · Pods`, view, fill: tab === "logs" || tab === "terminal",
    close: () => {
      live.close();
      events.close();
      use.close();
      parts.logs?.close();
      parts.terminal?.close();
    },
  };
}

function state(object) {
  const { status = {}, metadata } = object;
  if (metadata.deletionTimestamp) return { health: "wait", word: "Terminating" };
  const waiting = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])].find((each) => each.state?.waiting?.reason);
  if (waiting && !["ContainerCreating", "PodInitializing"].includes(waiting.state.waiting.reason)) return { health: "bad", word: waiting.state.waiting.reason };
  const word = status.reason ?? status.phase ?? "Pending";
  if (word === "Running") {
    const ready = status.conditions?.find((each) => each.type === "Ready")?.status === "True";
    return { health: ready ? "ok" : "warn", word: ready ? "Running" : "Running, not ready" };
  }
  return { health: { Succeeded: "done", Pending: "wait" }[word] ?? "bad", word };
}

function stateOf(status) {
  if (!status) return chip("wait", "not started");
  const { running: runs, waiting, terminated } = status.state ?? {};
  if (runs) return [chip(status.ready ? "ok" : "warn", status.ready ? "running" : "running, not ready"), h("br"), h("span", { class: "quiet" }, "for ", since(runs.startedAt))];
  if (terminated) return chip(terminated.exitCode === 0 ? "done" : "bad", `${terminated.reason ?? "ended"} (${terminated.exitCode})`);
  return chip(/Back|Err/.test(waiting?.reason ?? "") ? "bad" : "wait", waiting?.reason ?? "waiting");
}

/** The names of the containers that a command can run in. */
function running(object) {
  const states = [...(object.status?.containerStatuses ?? []), ...(object.status?.ephemeralContainerStatuses ?? [])];
  return states.filter((each) => each.state?.running).map((each) => each.name);
}

async function removePod({ metadata: { namespace, name } }) {
  const body = h("p", null, "Its containers are stopped. A controller, if it has one, makes another pod in its place.");
  if (await ask({ title: `Delete pod ${name}?`, body, confirm: "Delete", danger: true })) {
    await attempt(`${name} is being deleted`, () => call(path("v1", "pods", namespace, name), { method: "DELETE" }));
  }
}
