// The container's log.
import stdout from "wasq:cli/stdout@0.2.10";
import stderr from "wasq:cli/stderr@0.2.10";
import { encode } from "./text.js";

/** Most bytes that a stream takes at once. *Source:* wasi:io/streams, blocking-write-and-flush. */
const WRITE_BYTES_MAX = 4096;

/** Writes all bytes to a stream of the host. */
export function writeAll(stream, bytes) {
  for (let at = 0; at < bytes.length; at += WRITE_BYTES_MAX) {
    stream.blockingWriteAndFlush(bytes.subarray(at, at + WRITE_BYTES_MAX));
  }
}

function line(stream, values) {
  const text = values.map((value) => {
    if (value instanceof Error) return value.stack ? `${value.message}\n${value.stack}` : String(value);
    return typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
  });
  writeAll(stream, encode(text.join(" ") + "\n"));
  stream[Symbol.dispose]();
}

const out = (...values) => line(stdout.getStdout(), values);
const err = (...values) => line(stderr.getStderr(), values);
globalThis.console ??= { log: out, info: out, debug: out, warn: err, error: err };
