// The public API, in the user's name. The token lives in this tab's session storage; with a client certificate
// there is none. Nothing else is ever called.

const KEY = "coracle.token";

let token = sessionStorage.getItem(KEY) ?? "";
const onLost = new Set();

/** A refusal or failure, with the API's own words. */
export class ApiError extends Error {
  constructor(code, status) {
    super(status?.message || `the server answered ${code}`);
    this.code = code;
    this.reason = status?.reason ?? "";
    this.details = status?.details ?? {};
  }

  /** Whether the user may not do this. */
  get forbidden() {
    return this.code === 403;
  }
}

/** Sets or clears the token. */
export function setToken(value) {
  token = value.trim();
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
}

/** Whether a token is known. */
export function hasToken() {
  return token !== "";
}

/** The namespace of a service account's token, or "". */
export function tokenNamespace() {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return claims["kubernetes.io"]?.namespace ?? "";
  } catch {
    return "";
  }
}

/** Calls back when the server no longer knows who we are. */
export function whenLost(call) {
  onLost.add(call);
}

/** Sends a request and gives the response, whatever its body; throws ApiError for a refusal. */
export async function send(path, { method = "GET", body, type, accept = "application/json", signal } = {}) {
  const headers = { Accept: accept };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = type ?? "application/json";
  const payload = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  let response;
  try {
    response = await fetch(path, { method, headers, body: payload, signal, cache: "no-store", credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { message: "the server cannot be reached" });
  }
  if (response.ok) return response;
  const text = await response.text();
  let status;
  try {
    status = JSON.parse(text);
  } catch {
    status = { message: text.slice(0, 300) };
  }
  if (response.status === 401) for (const call of onLost) call();
  throw new ApiError(response.status, status);
}

/** Sends a request and gives the JSON of its answer. */
export async function call(path, options) {
  return (await send(path, options)).json();
}

/** The path of a resource: `path("apps/v1", "deployments", "default", "web", "scale")`. */
export function path(groupVersion, plural, namespace, name, subresource) {
  const root = groupVersion.includes("/") ? `/apis/${groupVersion}` : `/api/${groupVersion}`;
  const parts = [root];
  if (namespace) parts.push("namespaces", encodeURIComponent(namespace));
  parts.push(plural);
  if (name) parts.push(encodeURIComponent(name));
  if (subresource) parts.push(subresource);
  return parts.join("/");
}

/** A WebSocket to the API: a browser cannot set its headers, so the token goes as one of the protocols. */
export function socket(path, protocol) {
  const protocols = [protocol];
  if (token) {
    const encoded = btoa(token).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    protocols.push(`base64url.bearer.authorization.k8s.io.${encoded}`);
  }
  const open = new WebSocket(`wss://${location.host}${path}`, protocols);
  open.binaryType = "arraybuffer";
  return open;
}

/** Reads a response line by line; `each` gets every whole line. */
export async function lines(response, each) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) each(part);
  }
  if (rest) each(rest);
}

const asked = new Map();

/** Whether the user may do something: true, false, or undefined until the server has said so; then `tell` is called. */
export function may(verb, group, resource, namespace, tell, subresource = "") {
  const key = [verb, group, resource, namespace, subresource].join(" ");
  if (asked.has(key)) return asked.get(key);
  asked.set(key, undefined);
  const resourceAttributes = { verb, group, resource, namespace, subresource };
  const body = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec: { resourceAttributes } };
  call("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", { method: "POST", body }).then(
    (review) => {
      asked.set(key, review.status?.allowed === true);
      tell();
    },
    () => asked.delete(key),
  );
  return undefined;
}

/** Forgets what the user may do, for another user. */
export function forgetRights() {
  asked.clear();
}
