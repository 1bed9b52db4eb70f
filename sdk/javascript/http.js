// A program that answers HTTP requests.
import types from "wasi:http/types@0.3.0";
import environment from "wasq:cli/environment@0.2.10";
import { Body } from "./src/body.js";
import "./src/console.js";
import { drive, sleep } from "./src/loop.js";
import { decode, encode } from "./src/text.js";

export { sleep };

/** The environment's variables. */
export const env = () => Object.fromEntries(environment.getEnvironment());

/** A future that is there already. */
function now(kind, value) {
  const { readable, writable } = wit.Future(wit.Future[kind]);
  writable.write(value);
  return readable;
}

/** A request as it came. */
class Request extends Body {
  #request;
  constructor(request) {
    super();
    this.#request = request;
    const method = request.getMethod();
    this.method = (method.val ?? method.tag).toUpperCase();
    this.path = request.getPathWithQuery() ?? "/";
    const fields = request.getHeaders();
    this.headers = new Map(fields.copyAll().map(([name, value]) => [name.toLowerCase(), decode(value)]));
    fields[Symbol.dispose]();
  }

  /** The body, piece by piece. */
  async *[Symbol.asyncIterator]() {
    const [stream] = types.Request.consumeBody(this.#request, now("RESULT_VOID_ERROR_CODE", { tag: "ok" }));
    yield* stream;
  }
}

/** What is answered. */
export class Response {
  constructor(body = "", { status = 200, headers = {} } = {}) {
    Object.assign(this, { body, status, headers });
  }

  /** An answer in JSON. */
  static json(value, { status = 200, headers = {} } = {}) {
    return new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json", ...headers } });
  }
}

function send({ body, status, headers }) {
  const bytes = typeof body === "string" ? encode(body) : body;
  const all = { "content-length": String(bytes.length), ...headers };
  const fields = types.Fields.fromList(Object.entries(all).map(([name, value]) => [name, encode(value)]));
  const stream = bytes.length > 0 ? (async function* () { yield bytes; })() : null;
  const [response] = types.Response.new(fields, stream, now("RESULT_OPTION_OTHER_ERROR_CODE", { tag: "ok", val: null }));
  response.setStatusCode(status);
  return response;
}

/** Makes a service of an async function: `export const handler = serve(async (request) => new Response("hello"))`. */
export function serve(answer) {
  return {
    async handle(incoming) {
      try {
        return send(await drive(Promise.resolve(new Request(incoming)).then(answer), true));
      } catch (error) {
        console.error(error);
        return send(new Response("the service failed\n", { status: 500 }));
      }
    },
  };
}
