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
  /**
   * Waits until this pod leads, then does the work. Rejects when the lease is lost: let the program end then. When the work
   * ends, the lease is renewed no more, and another may take it after its time.
   */
  lead<T>(work: () => Promise<T>): Promise<T>;
}
