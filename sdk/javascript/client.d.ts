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
