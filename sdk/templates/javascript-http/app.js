// Answers every request with a greeting.
import { getEnvironment } from "wasi:cli/environment@0.2.12";
import { Fields, OutgoingBody, OutgoingResponse, ResponseOutparam } from "wasi:http/types@0.2.12";

export const incomingHandler = {
  handle(request, out) {
    const { GREETING = "hello" } = Object.fromEntries(getEnvironment());
    const whom = (request.pathWithQuery() ?? "/").replaceAll("/", "");
    answer(out, `${GREETING} from {{name}}, ${whom}\n`);
  },
};

function answer(out, text) {
  const response = new OutgoingResponse(new Fields());
  const body = response.body();
  ResponseOutparam.set(out, { tag: "ok", val: response });
  const stream = body.write();
  stream.blockingWriteAndFlush(new TextEncoder().encode(text));
  stream[Symbol.dispose]();
  OutgoingBody.finish(body, undefined);
}
