// A client of the cluster's API with the pod's own token, and leader election by a Lease.
//
// The pod's manifest sets SSL_CERT_FILE to /var/run/secrets/kubernetes.io/serviceaccount/ca.crt; what the client may do
// is what a Role grants to its ServiceAccount.
import { fetch } from "./src/fetch.js";
import { readText } from "./src/files.js";
import { sleep } from "./src/loop.js";
import { decode } from "./src/text.js";

/** Where a pod finds its token and namespace. *Source:* Kubernetes, ServiceAccount admission. */
const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** The API server's name within the cluster. */
const SERVER = "https://kubernetes.default.svc";

/** Most bytes of one event of a watch: more than an object can have. */
const EVENT_BYTES_MAX = 4 << 20;

/** The server refused. */
export class ApiError extends Error {
  constructor(code, message) {
    super(`${message} (${code})`);
    this.code = code;
  }
}

/** Lines of a body, as text. */
async function* lines(body) {
  let rest = new Uint8Array();
  for await (const bytes of body) {
    const all = new Uint8Array(rest.length + bytes.length);
    all.set(rest);
    all.set(bytes, rest.length);
    let begin = 0;
    for (let end; (end = all.indexOf(10, begin)) >= 0; begin = end + 1) yield decode(all.subarray(begin, end));
    rest = all.slice(begin);
    if (rest.length > EVENT_BYTES_MAX) throw new Error(`an event of more than ${EVENT_BYTES_MAX} bytes`);
  }
}

/** A client with the pod's own rights. Paths are those of the API, such as `/api/v1/namespaces/default/pods`. */
export class Client {
  /** Makes a client of the pod that this runs in. */
  static inCluster() {
    return new Client(readText(`${ACCOUNT}/namespace`).trim());
  }

  constructor(namespace) {
    this.namespace = namespace;
  }

  async #send(method, path, object, type = "application/json") {
    // The token is renewed while the pod runs, so it is read each time.
    const headers = {
      authorization: `Bearer ${readText(`${ACCOUNT}/token`).trim()}`,
      "content-type": type,
      accept: "application/json",
    };
    const body = object === undefined ? undefined : JSON.stringify(object);
    const answer = await fetch(SERVER + path, { method, headers, body });
    if (answer.ok) return answer;
    const text = await answer.text();
    let message = text;
    try {
      message = JSON.parse(text).message ?? text;
    } catch {
      // Not every refusal is a Status.
    }
    throw new ApiError(answer.status, message);
  }

  async #json(...request) {
    return (await this.#send(...request)).json();
  }

  /** Reads an object or a list. */
  get(path) {
    return this.#json("GET", path);
  }

  /** Makes a new object in a collection. */
  create(path, object) {
    return this.#json("POST", path, object);
  }

  /** Makes an object so that it has these fields, as `manager` (server-side apply). */
  apply(path, manager, object) {
    const query = `?fieldManager=${encodeURIComponent(manager)}&force=true`;
    return this.#json("PATCH", path + query, object, "application/apply-patch+yaml");
  }

  /** Puts an object in the place of what is there, if that is still of the same resourceVersion. */
  replace(path, object) {
    return this.#json("PUT", path, object);
  }

  /** Changes an object by a merge patch (RFC 7386). */
  merge(path, patch) {
    return this.#json("PATCH", path, patch, "application/merge-patch+json");
  }

  /** Deletes an object, and in the background what it owns. */
  delete(path) {
    return this.#json("DELETE", path);
  }

  /** Follows a collection: first what is there, then each change, until the server ends it, as it does now and then. */
  async *watch(path) {
    const [folder, query = ""] = path.split("?");
    const list = await this.get(path);
    for (const object of list.items) yield { type: "APPLIED", object };
    const more = `watch=true&resourceVersion=${list.metadata.resourceVersion}${query && `&${query}`}`;
    for await (const line of lines(await this.#send("GET", `${folder}?${more}`))) {
      const { type, object } = JSON.parse(line);
      if (type === "ERROR") throw new ApiError(object.code ?? 500, object.message);
      if (type === "ADDED" || type === "MODIFIED") yield { type: "APPLIED", object };
      if (type === "DELETED") yield { type, object };
    }
  }
}

/** Of many pods that could do a piece of work, one does it. Clocks of different pods are never compared. */
export class Lease {
  #client;
  #path;
  #name;
  #holder;
  #seconds;

  constructor(client, name, holder, seconds = 15) {
    this.#client = client;
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${client.namespace}/leases`;
    [this.#name, this.#holder, this.#seconds] = [name, holder, Math.max(1, seconds)];
  }

  /**
   * Waits until this pod leads, then does the work. Rejects when the lease is lost: let the program end then. When the work
   * ends, the lease is renewed no more, and another may take it after its time.
   */
  async lead(work) {
    const since = await this.#acquire();
    const term = { ended: false };
    try {
      return await Promise.race([work(), this.#keep(since, term)]);
    } finally {
      term.ended = true;
    }
  }

  /** Milliseconds between two looks, a third of the time that a lease is good for: one renewal may fail. */
  get #pause() {
    return (this.#seconds * 1000) / 3;
  }

  /**
   * For how many milliseconds more a lease is trusted that was asked for then. It ends before others may take it: they have
   * seen it at the earliest when it was asked for, and wait for all of its time.
   */
  #trusted(asked) {
    return Math.max(0, (this.#seconds * 1000 * 5) / 6 - (performance.now() - asked));
  }

  #spec() {
    const now = new Date().toISOString().replace("Z", "000Z");
    return { holderIdentity: this.#holder, leaseDurationSeconds: this.#seconds, acquireTime: now, renewTime: now };
  }

  /** Takes or renews a lease that is still as it was read. */
  #write(lease) {
    const mine = lease.spec?.holderIdentity === this.#holder;
    const spec = this.#spec();
    if (mine) spec.acquireTime = lease.spec.acquireTime;
    spec.leaseTransitions = (lease.spec?.leaseTransitions ?? 0) + (mine ? 0 : 1);
    return this.#client.replace(`${this.#path}/${this.#name}`, { ...lease, spec });
  }

  /** Reads the lease; makes it when there is none. */
  async #read() {
    try {
      return await this.#client.get(`${this.#path}/${this.#name}`);
    } catch (error) {
      if (error.code !== 404) throw error;
    }
    const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: this.#name }, spec: this.#spec() };
    return this.#client.create(this.#path, lease);
  }

  /** Waits until the lease is held; gives when that was asked for. */
  async #acquire() {
    for (let seen = [undefined, 0]; ; await sleep(this.#pause)) {
      const asked = performance.now();
      try {
        const lease = await this.#read();
        const version = lease.metadata.resourceVersion;
        if (seen[0] !== version) seen = [version, performance.now()];
        const { holderIdentity = "", leaseDurationSeconds = this.#seconds } = lease.spec ?? {};
        const over = performance.now() - seen[1] >= leaseDurationSeconds * 1000;
        if (holderIdentity === "" || holderIdentity === this.#holder || over) {
          await this.#write(lease);
          return asked;
        }
      } catch (error) {
        // Another was faster.
        if (error.code !== 409) throw error;
      }
    }
  }

  /**
   * Renews until the term has ended, or that has failed for as long as the lease is trusted, or another has it. A request
   * without an answer holds nothing up.
   */
  async #keep(renewed, term) {
    for (;;) {
      await sleep(Math.min(this.#pause, this.#trusted(renewed)));
      if (term.ended) return;
      const [asked, left] = [performance.now(), this.#trusted(renewed)];
      if (left === 0) break;
      const late = sleep(left).then(() => "late");
      const end = await Promise.race([this.#renew().catch(() => "failed"), late]);
      if (end === "mine") renewed = asked;
      else if (end !== "failed") break;
    }
    throw new Error(`the lease ${this.#name} was lost`);
  }

  /** Renews the lease, and says whose it is. */
  async #renew() {
    const lease = await this.#client.get(`${this.#path}/${this.#name}`);
    if (lease.spec?.holderIdentity !== this.#holder) return "another's";
    await this.#write(lease);
    return "mine";
  }
}
