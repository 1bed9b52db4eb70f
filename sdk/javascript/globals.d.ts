/** What the SDK's modules make global, because the engine leaves it to its host. */
declare const console: Record<"log" | "info" | "debug" | "warn" | "error", (...values: unknown[]) => void>;
declare function setTimeout(callback: (...rest: any[]) => void, milliseconds?: number, ...rest: unknown[]): number;
declare function clearTimeout(timer: number): void;
declare class TextEncoder {
  encode(text?: string): Uint8Array;
}
declare class TextDecoder {
  decode(bytes?: Uint8Array | ArrayBuffer): string;
}
