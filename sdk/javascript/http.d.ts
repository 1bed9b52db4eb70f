export function env(): Record<string, string>;
export function sleep(milliseconds: number): Promise<void>;
/** A request as it came. */
export interface Request extends AsyncIterable<Uint8Array> {
  /** In capitals: `GET`. */
  readonly method: string;
  /** With its query: `/cart?of=maria`. */
  readonly path: string;
  /** By names in small letters. */
  readonly headers: Map<string, string>;
  /** The body, which is read once: whole, or piece by piece. */
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
