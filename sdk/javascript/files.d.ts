/** Reads a file of text: a key of a mounted ConfigMap, say. Throws when it is not there. */
export function readText(path: string): string;
/** Reads a file. */
export function readFile(path: string): Uint8Array;
/** Gives the names in a folder, sorted. */
export function readDir(path: string): string[];
