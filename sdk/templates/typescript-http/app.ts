// Answers every request with a greeting.
import { env, type Request, Response, serve } from "./coracle/http.js";

function greeting(request: Request): string {
  const whom: string = request.path.replaceAll("/", "");
  console.log("asked for", whom);
  return `${env().GREETING ?? "hello"} from {{name}}, ${whom}\n`;
}

export const handler = serve(async (request) => new Response(greeting(request)));
