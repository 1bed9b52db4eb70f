// node build.mjs command|http SOURCE OUTPUT.wasm: makes a component of a module and of what it imports, in JavaScript or
// TypeScript. Types are taken off and not looked at: that is `tsc --noEmit`. In place of `command` stands an interface such as
// `example:plugin/text@0.1.0` for a component that exports that one: the module has it by its name, `export const text = { … }`.
// Interfaces of one's own, which are exported or imported, are read from the folder `wit`.
//
// The component imports the interfaces that the modules use, and no others. Its engine is QuickJS, which makes it small:
// 1.2 MB. Run it in the folder that has `node_modules`.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

// While the component is made, a host without HTTP runs it once, to keep what its modules have made of themselves. That
// host gives interfaces of `wasi:` which do not fit with stand-ins for HTTP. So all have another name until then, of the
// same length, and of a version that QuickJS itself does not import: no interface may be imported twice.
const [GUEST, HOST] = ["wasq", "wasi"];
const [PUBLISHED, OURS] = ["0.2.12", "0.2.10"];
const EXPORTS = { command: "wasi:cli/run@0.3.0", http: "wasi:http/handler@0.3.0" };

const INTERFACE = /^[a-z][a-z0-9-]*:[a-z][a-z0-9-]*\/[a-z][a-z0-9-]*/;

const [kind, source, output] = process.argv.slice(2);
const exported = EXPORTS[kind] ?? (INTERFACE.test(kind) ? kind : undefined);
if (!exported || !output) {
  console.error("usage: node build.mjs command|http|INTERFACE SOURCE OUTPUT.wasm");
  process.exit(2);
}
const packages = resolve("node_modules");
const load = (path) => import(pathToFileURL(join(packages, path)));
const [{ componentize }, { rolldown }] = await Promise.all([load("componentize-qjs/index.js"), load("rolldown/dist/index.mjs")]);
const published = join(packages, "@bytecodealliance/jco/lib/wit/builtin");

/** One module of all, and the interfaces that it imports. */
async function bundle() {
  const treeshake = { moduleSideEffects: (_, isExternal) => !isExternal };
  const modules = await rolldown({ input: resolve(source), external: INTERFACE, treeshake });
  const { output: [{ code, imports }] } = await modules.generate({ format: "esm" });
  return { code, imports: imports.filter((name) => INTERFACE.test(name)) };
}

/** A folder with the interfaces of WASI, and a world of those that are imported. */
function world(folder, imports) {
  const deps = join(folder, "deps");
  mkdirSync(deps, { recursive: true });
  for (const version of [PUBLISHED, "0.3.0"]) {
    for (const name of readdirSync(join(published, version))) {
      cpSync(join(published, version, name), join(deps, `${name}-${version}`), { recursive: true });
    }
  }
  for (const name of readdirSync(deps).filter((name) => name.endsWith(PUBLISHED))) {
    for (const file of readdirSync(join(deps, name))) {
      const text = readFileSync(join(deps, name, file), "utf8");
      writeFileSync(join(deps, name, file), text.replaceAll(`${HOST}:`, `${GUEST}:`).replaceAll(PUBLISHED, OURS));
    }
  }
  if (existsSync("wit")) cpSync("wit", join(deps, "own"), { recursive: true });
  const lines = imports.map((name) => `    import ${name};\n`).join("");
  writeFileSync(join(folder, "world.wit"), `package app:app;\nworld app {\n${lines}    export ${exported};\n}\n`);
  return folder;
}

const place = mkdtempSync(join(tmpdir(), "coracle-js-"));
try {
  const { code, imports } = await bundle();
  const witPath = world(join(place, "wit"), imports);
  const { component } = await componentize({ witPath, world: "app", jsSource: code, optSize: true });
  // Nothing but names of interfaces is touched.
  const names = new RegExp(`${GUEST}:(?=(?:cli|clocks|filesystem|http|io|random|sockets)/)`, "g");
  const text = Buffer.from(component).toString("latin1").replace(names, `${HOST}:`);
  writeFileSync(output, Buffer.from(text, "latin1"));
} finally {
  rmSync(place, { recursive: true, force: true });
}
