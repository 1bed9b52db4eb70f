// Requests to others.
import handler from "wasq:http/outgoing-handler@0.2.10";
import types from "wasq:http/types@0.2.10";
import { Body } from "./body.js";
import { writeAll } from "./console.js";
import { ready } from "./loop.js";
import { decode, encode } from "./text.js";

/** Bytes that are read at once. */
const READ_BYTES = 65_536;

const METHODS = new Set(["get", "head", "post", "put", "delete", "connect", "options", "trace", "patch"]);

/** What an error of the host says: a case of a variant or an enum, and what it carries. */
export function words(error) {
  const said = error?.payload ?? error;
  if (said instanceof Error || typeof said !== "object" || said === null) return String(said?.message ?? said);
  return said.val === undefined || said.val === null ? said.tag : `${said.tag}: ${JSON.stringify(said.val)}`;
}

/** The answer to a request. */
export class Answer extends Body {
  #response;
  constructor(response) {
    super();
    this.#response = response;
    this.status = response.status();
    this.ok = this.status >= 200 && this.status < 300;
    const fields = response.headers();
    const entries = fields.entries().map(([name, value]) => [name.toLowerCase(), decode(value)]);
    fields[Symbol.dispose]();
    this.headers = new Map(entries);
  }

  /** The body, piece by piece. */
  async *[Symbol.asyncIterator]() {
    const body = this.#response.consume();
    const stream = body.stream();
    try {
      for (;;) {
        await ready(stream.subscribe());
        let bytes;
        try {
          bytes = stream.read(READ_BYTES);
        } catch (error) {
          if (words(error) === "closed") return;
          throw new Error(`the answer broke off: ${words(error)}`);
        }
        if (bytes.length > 0) yield bytes;
      }
    } finally {
      stream[Symbol.dispose]();
      body[Symbol.dispose]();
      this.#response[Symbol.dispose]();
    }
  }
}

function request(url, { method = "GET", headers = {} }) {
  const [, scheme, authority, path] = /^(https?):\/\/([^/?#]+)([^#]*)/i.exec(url) ?? [];
  if (!scheme) throw new TypeError(`'${url}' must begin with http:// or https://`);
  const fields = types.Fields.fromList(Object.entries(headers).map(([name, value]) => [name, encode(value)]));
  const made = new types.OutgoingRequest(fields);
  const known = METHODS.has(method.toLowerCase());
  made.setMethod(known ? { tag: method.toLowerCase() } : { tag: "other", val: method });
  made.setScheme({ tag: scheme.toUpperCase() });
  made.setAuthority(authority);
  made.setPathWithQuery(path.startsWith("/") ? path : `/${path}`);
  return made;
}

/** Sends a request, and gives its answer as soon as that has begun. */
export async function fetch(url, options = {}) {
  const made = request(url, options);
  const body = made.body();
  try {
    const coming = handler.handle(made, null);
    const stream = body.write();
    if (options.body !== undefined) {
      writeAll(stream, typeof options.body === "string" ? encode(options.body) : options.body);
    }
    stream[Symbol.dispose]();
    types.OutgoingBody.finish(body, null);
    await ready(coming.subscribe());
    const got = coming.get();
    coming[Symbol.dispose]();
    const result = got.val ?? got;
    if (result.tag === "err") throw result.val;
    return new Answer(result.val ?? result);
  } catch (error) {
    throw new Error(`${options.method ?? "GET"} ${url}: ${words(error)}`);
  }
}

globalThis.fetch ??= fetch;
