// Answers every request with a greeting.
import { env, Response, serve } from "./coracle/http.js";

export const handler = serve(async (request) => {
  const { GREETING = "hello" } = env();
  const whom = request.path.replaceAll("/", "");
  console.log("asked for", whom);
  return new Response(`${GREETING} from {{name}}, ${whom}\n`);
});
