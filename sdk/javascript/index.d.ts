/**
 * The SDK has no one entry: a component imports what the modules that it imports need, and nothing else. What each
 * offers is declared here.
 */

declare module "*/command.js" {
  /** The environment's variables: what the pod's manifest says, and where Services are. */
  export function env(): Record<string, string>;
  /** Resolves after some milliseconds. */
  export function sleep(milliseconds: number): Promise<void>;
  /**
   * Makes a program that runs to its end of an async function, which gets the container's arguments:
   *
   *     export const run = command(async (args) => console.log("hello", ...args));
   *
   * When it rejects, the error is in the container's log and its exit code is 1.
   */
  export function command(main: (args: string[]) => Promise<void> | void): { run(): Promise<void> };
}

declare module "*/http.js" {
  export function env(): Record<string, string>;
  export function sleep(milliseconds: number): Promise<void>;
  /** A request as it came. */
  export interface Request {
    /** In capitals: `GET`. */
    readonly method: string;
    /** With its query: `/cart?of=maria`. */
    readonly path: string;
    /** By names in small letters. */
    readonly headers: Map<string, string>;
    /** The body, which is read once. */
    bytes(): Promise<Uint8Array>;
    text(): Promise<string>;
    json(): Promise<any>;
  }
  /** What is answered. */
  export class Response {
    constructor(body?: string | Uint8Array, init?: { status?: number; headers?: Record<string, string> });
    /** An answer in JSON. */
    static json(value: unknown, init?: { status?: number; headers?: Record<string, string> }): Response;
  }
  /**
   * Makes a service of an async function:
   *
   *     export const handler = serve(async (request) => new Response(`hello, ${request.path}`));
   *
   * When it rejects, the error is in the container's log and the answer is 500.
   */
  export function serve(answer: (request: Request) => Promise<Response> | Response): { handle(request: unknown): Promise<unknown> };
}

declare module "*/client.js" {
  /** The answer to a request: its body is read once, whole or piece by piece. */
  export interface Answer extends AsyncIterable<Uint8Array> {
    readonly status: number;
    /** Whether the status is of the kind 2xx. */
    readonly ok: boolean;
    readonly headers: Map<string, string>;
    bytes(): Promise<Uint8Array>;
    text(): Promise<string>;
    json(): Promise<any>;
  }
  /**
   * Sends a request, and gives its answer as soon as that has begun. Rejects when there is none, with what stood in the
   * way. What a pod reaches is said by its NetworkPolicies and by `coracle.dev/egress`.
   */
  export function fetch(
    url: string,
    options?: { method?: string; headers?: Record<string, string>; body?: string | Uint8Array },
  ): Promise<Answer>;
}

declare module "*/files.js" {
  /** Reads a file of text: a key of a mounted ConfigMap, say. Throws when it is not there. */
  export function readText(path: string): string;
  /** Reads a file. */
  export function readFile(path: string): Uint8Array;
  /** Gives the names in a folder, sorted. */
  export function readDir(path: string): string[];
}

declare module "*/kube.js" {
  /** The server refused: `code` is the HTTP status, such as 403 or 404. */
  export class ApiError extends Error {
    readonly code: number;
  }
  /** An object of the API. */
  export type KubeObject = { apiVersion: string; kind: string; metadata: any; [field: string]: any };
  /** What became of an object: it is there like this, or gone and was like this. */
  export type WatchEvent = { type: "APPLIED" | "DELETED"; object: KubeObject };
  /**
   * A client with the pod's own rights. Paths are those of the API, such as `/api/v1/namespaces/default/pods`. The pod's
   * manifest sets `SSL_CERT_FILE` to `/var/run/secrets/kubernetes.io/serviceaccount/ca.crt`.
   */
  export class Client {
    /** Makes a client of the pod that this runs in. Throws when the pod has no token. */
    static inCluster(): Client;
    /** The pod's namespace. */
    readonly namespace: string;
    /** Reads an object or a list. */
    get(path: string): Promise<any>;
    /** Makes a new object in a collection. */
    create(path: string, object: object): Promise<KubeObject>;
    /** Makes an object so that it has these fields, as `manager` (server-side apply); others stay as they are. */
    apply(path: string, manager: string, object: object): Promise<KubeObject>;
    /** Puts an object in the place of what is there; 409 when it is of another resourceVersion. */
    replace(path: string, object: object): Promise<KubeObject>;
    /** Changes an object by a merge patch (RFC 7386). */
    merge(path: string, patch: object): Promise<KubeObject>;
    /** Deletes an object, and in the background what it owns. */
    delete(path: string): Promise<any>;
    /** Follows a collection: first what is there, then each change. It ends now and then: begin again. */
    watch(path: string): AsyncGenerator<WatchEvent>;
  }
  /** Of many pods that could do a piece of work, one does it. The account may get, create and update `leases`. */
  export class Lease {
    /** `holder` is the pod's name; after `seconds` without a sign of it another may lead. */
    constructor(client: Client, name: string, holder: string, seconds?: number);
    /** Waits until this pod leads, then does the work. Rejects when the lease is lost: let the program end then. */
    lead<T>(work: () => Promise<T>): Promise<T>;
  }
}
