// Files of the container: its image's, and what is mounted.
import preopens from "wasq:filesystem/preopens@0.2.10";
import types from "wasq:filesystem/types@0.2.10";
import { decode } from "./text.js";

/** Bytes that are read at once. */
const READ_BYTES = 65_536;

/** Opens a path in the folder of the host that holds it: the longest one. */
function open(path, openFlags) {
  const folders = preopens.getDirectories().map(([folder, name]) => [folder, name.endsWith("/") ? name : `${name}/`]);
  const holding = folders.filter(([, name]) => `${path}/`.startsWith(name));
  const [folder, name] = holding.sort(([, a], [, b]) => b.length - a.length)[0] ?? [];
  if (!folder) throw new Error(`${path}: no folder of this container holds it`);
  try {
    return folder.openAt({ symlinkFollow: true }, path.slice(name.length) || ".", openFlags, { read: true });
  } catch (error) {
    throw new Error(`${path}: ${error?.payload ?? error}`);
  }
}

/** Reads a file. */
export function readFile(path) {
  const file = open(path, {});
  const parts = [];
  for (let [at, end] = [0, false]; !end; ) {
    let bytes;
    [bytes, end] = file.read(READ_BYTES, at);
    parts.push(bytes);
    at += bytes.length;
    end ||= bytes.length === 0;
  }
  file[Symbol.dispose]();
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}

/** Reads a file of text. */
export function readText(path) {
  return decode(readFile(path));
}

/** Gives the names in a folder, sorted. */
export function readDir(path) {
  const folder = open(path, { directory: true });
  const entries = folder.readDirectory();
  const names = [];
  for (let entry; (entry = entries.readDirectoryEntry()); ) names.push(entry.name);
  entries[Symbol.dispose]();
  folder[Symbol.dispose]();
  return names.sort();
}

