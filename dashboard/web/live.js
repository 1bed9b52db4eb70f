// Collections that stay true by themselves: a list in pages, then a watch from its resourceVersion, and a new list
// when the server has forgotten that version.

import { ApiError, call, lines, path, send } from "./api.js";

/** Objects per page of a list: what a browser parses within a frame or two. */
const PAGE = 500;
const RETRY_FIRST_MS = 500;
const RETRY_MOST_MS = 15_000;
/** How long a collection that nobody shows is kept up to date, so that going back is instant. */
const LINGER_MS = 30_000;
/** Changes are told this often at most, so that a storm of them costs a render each, not thousands. */
const TELL_MS = 120;

const TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/** One collection. `items` maps `namespace/name` to objects, or to rows (see `row`). */
class Live {
  constructor(kind, namespace, query) {
    this.kind = kind;
    this.path = path(kind.version, kind.plural, namespace);
    this.query = query;
    this.items = new Map();
    this.state = "loading";
    this.error = null;
    this.users = 0;
    this.listeners = new Set();
    this.version = 0;
    this.columns = null;
    this.telling = null;
  }

  /** All items, in the order of their keys; the same list until something changes. */
  get list() {
    if (this.sorted?.version !== this.version) {
      const items = [...this.items].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, item]) => item);
      this.sorted = { version: this.version, items };
    }
    return this.sorted.items;
  }

  start() {
    this.abort = new AbortController();
    this.run(this.abort.signal).catch((error) => this.fail(error));
  }

  stop() {
    this.abort?.abort();
  }

  fail(error) {
    if (error.name === "AbortError") return;
    this.error = error;
    // A kind that nobody has defined has no objects; a page that is opened later asks again.
    this.state = error.forbidden ? "forbidden" : error.code === 404 ? "absent" : "broken";
    this.changed();
  }

  changed() {
    this.version++;
    if (this.telling) return;
    this.telling = setTimeout(() => {
      this.telling = null;
      for (const listener of this.listeners) listener();
    }, TELL_MS);
  }

  async run(signal) {
    let wait = RETRY_FIRST_MS;
    let version = "";
    while (!signal.aborted) {
      try {
        if (!version) version = await this.fetchAll(signal);
        this.state = "live";
        this.error = null;
        this.changed();
        const began = Date.now();
        version = await this.follow(version, signal);
        wait = Date.now() - began > 5000 ? RETRY_FIRST_MS : Math.min(wait * 2, RETRY_MOST_MS);
        if (version) continue;
      } catch (error) {
        if (signal.aborted) return;
        this.fail(error);
        if (error.forbidden || error.code === 404) return;
        if (error.code === 410) version = "";
        wait = Math.min(wait * 2, RETRY_MOST_MS);
      }
      await new Promise((done) => setTimeout(done, wait));
    }
  }

  address(extra) {
    return `${this.path}?${new URLSearchParams({ ...this.query, ...extra })}`;
  }

  get accept() {
    return this.kind.table ? TABLE : "application/json";
  }

  async fetchAll(signal) {
    const fresh = new Map();
    const first = this.items.size === 0;
    let next = "";
    let version = "";
    do {
      const extra = { limit: PAGE, ...(next ? { continue: next } : {}) };
      const page = await call(this.address(extra), { accept: this.accept, signal });
      if (page.columnDefinitions) this.columns = page.columnDefinitions.map((column) => column.name);
      for (const raw of page.rows ?? page.items ?? []) {
        const item = this.kind.table ? this.kind.table(raw, this.columns) : raw;
        fresh.set(keyOf(item), item);
        if (first) this.items.set(keyOf(item), item);
      }
      next = page.metadata.continue ?? "";
      version = page.metadata.resourceVersion;
      // The first list shows what has come; later ones replace everything at once.
      if (first) this.changed();
    } while (next);
    this.items = fresh;
    this.changed();
    return version;
  }

  /** Follows the changes until the connection ends, and gives the version to go on from; "" when it is gone. */
  async follow(from, signal) {
    let version = from;
    let gone = false;
    const extra = { watch: "1", allowWatchBookmarks: "true", resourceVersion: from };
    const response = await send(this.address(extra), { accept: this.accept, signal });
    await lines(response, (line) => {
      if (!line) return;
      const { type, object } = JSON.parse(line);
      if (type === "ERROR") {
        gone = true;
        return;
      }
      const raws = object.kind === "Table" ? (object.rows ?? []) : [object];
      for (const raw of raws) {
        const metadata = raw.object?.metadata ?? raw.metadata;
        version = metadata?.resourceVersion ?? version;
        if (type !== "BOOKMARK") this.take(type, raw);
      }
      if (raws.length === 0) version = object.metadata?.resourceVersion ?? version;
    });
    return gone ? "" : version;
  }

  take(type, raw) {
    const item = this.kind.table ? this.kind.table(raw, this.columns) : raw;
    if (type === "DELETED") this.items.delete(keyOf(item));
    else this.items.set(keyOf(item), item);
    this.changed();
  }
}

/** `namespace/name`, or `name`. */
export function keyOf(item) {
  const { namespace, name } = item.metadata ?? item;
  return namespace ? `${namespace}/${name}` : name;
}

/** A pod as the lists show it: what its Table row and its metadata say, and no more. */
function podRow(row, columns) {
  const cell = (name) => row.cells[columns.indexOf(name)] ?? "";
  const metadata = row.object.metadata;
  const owner = metadata.ownerReferences?.find((owner) => owner.controller);
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    uid: metadata.uid,
    generation: metadata.generation ?? 0,
    version: metadata.resourceVersion,
    labels: metadata.labels ?? {},
    owner: owner ? { kind: owner.kind, name: owner.name } : null,
    created: metadata.creationTimestamp,
    deleting: Boolean(metadata.deletionTimestamp),
    ready: String(cell("Ready")),
    status: String(cell("Status")),
    restarts: parseInt(cell("Restarts"), 10) || 0,
    ip: String(cell("IP")),
    node: String(cell("Node")).replace("<none>", ""),
  };
}

/** The kinds that are followed. */
export const KINDS = {
  pods: { version: "v1", plural: "pods", table: podRow },
  fullPods: { version: "v1", plural: "pods" },
  nodes: { version: "v1", plural: "nodes", cluster: true },
  namespaces: { version: "v1", plural: "namespaces", cluster: true },
  services: { version: "v1", plural: "services" },
  endpointslices: { version: "discovery.k8s.io/v1", plural: "endpointslices" },
  deployments: { version: "apps/v1", plural: "deployments" },
  statefulsets: { version: "apps/v1", plural: "statefulsets" },
  daemonsets: { version: "apps/v1", plural: "daemonsets" },
  replicasets: { version: "apps/v1", plural: "replicasets" },
  jobs: { version: "batch/v1", plural: "jobs" },
  cronjobs: { version: "batch/v1", plural: "cronjobs" },
  events: { version: "v1", plural: "events" },
  networkpolicies: { version: "networking.k8s.io/v1", plural: "networkpolicies" },
  ingresses: { version: "networking.k8s.io/v1", plural: "ingresses" },
  httproutes: { version: "gateway.networking.k8s.io/v1", plural: "httproutes" },
  quotas: { version: "v1", plural: "resourcequotas" },
};

const open = new Map();

/** Opens a collection, or joins one that is open; `tell` is called after every change until `close`. */
export function follow(name, namespace, tell, query = {}) {
  const kind = KINDS[name];
  const scope = kind.cluster ? "" : namespace;
  const key = JSON.stringify([name, scope, query]);
  let live = open.get(key);
  if (!live) {
    live = new Live(kind, scope, query);
    open.set(key, live);
    live.start();
  }
  clearTimeout(live.linger);
  live.users++;
  // One of its own for each that follows: pages that come and go share the function that draws.
  const listener = () => tell();
  live.listeners.add(listener);
  let isOpen = true;
  return {
    get list() { return live.list; },
    get items() { return live.items; },
    get state() { return live.state; },
    get error() { return live.error; },
    get version() { return live.version; },
    close() {
      if (!isOpen) return;
      isOpen = false;
      live.listeners.delete(listener);
      if (--live.users > 0) return;
      live.linger = setTimeout(() => {
        live.stop();
        open.delete(key);
      }, LINGER_MS);
    },
  };
}

/** Ends everything, for another user. */
export function closeAll() {
  for (const live of open.values()) live.stop();
  open.clear();
}

/** Whether everything that is shown is up to date. */
export function health() {
  const states = [...open.values()].filter((live) => live.users > 0).map((live) => live.state);
  if (states.includes("broken")) return "broken";
  return states.includes("loading") ? "loading" : "live";
}

/** Calls something now and then while it is wanted; failures are kept in `error`. */
export function poll(everyMs, ask, tell) {
  const poller = { value: null, error: null, close: () => clearTimeout(timer) };
  let timer = 0;
  let closed = false;
  const turn = async () => {
    try {
      poller.value = await ask();
      poller.error = null;
    } catch (error) {
      poller.error = error instanceof ApiError ? error : new ApiError(0, { message: String(error) });
    }
    if (closed) return;
    tell();
    timer = setTimeout(turn, document.hidden ? everyMs * 6 : everyMs);
  };
  poller.close = () => {
    closed = true;
    clearTimeout(timer);
  };
  turn();
  return poller;
}
