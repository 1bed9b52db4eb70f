// node build.mjs command|http SOURCE.js OUTPUT.wasm: makes a component of a module and of what it imports.
//
// The component imports the interfaces that the modules import, and no others. Its engine is QuickJS, which makes it
// small: 1.2 MB. Run it in the folder that has `node_modules`.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve, sep } from "node:path";
import { pathToFileURL } from "node:url";

// While the component is made, a host without HTTP runs it once, to keep what its modules have made of themselves. That
// host gives interfaces of `wasi:` which do not fit with stand-ins for HTTP. So all have another name until then, of the
// same length, and of a version that QuickJS itself does not import: no interface may be imported twice.
const [GUEST, HOST] = ["wasq", "wasi"];
const [PUBLISHED, OURS] = ["0.2.12", "0.2.10"];
const EXPORTS = { command: "wasi:cli/run@0.3.0", http: "wasi:http/handler@0.3.0" };

const [kind, source, output] = process.argv.slice(2);
if (!(kind in EXPORTS) || !output) {
  console.error("usage: node build.mjs command|http SOURCE.js OUTPUT.wasm");
  process.exit(2);
}
const packages = resolve("node_modules");
const { componentize } = await import(pathToFileURL(join(packages, "componentize-qjs/index.js")));
const published = join(packages, "@bytecodealliance/jco/lib/wit/builtin");

/** The modules that a module imports, and the interfaces. */
function walk(file, modules = new Set(), interfaces = new Set()) {
  if (modules.has(file)) return { modules, interfaces };
  modules.add(file);
  for (const [, name] of readFileSync(file, "utf8").matchAll(/(?:from|^import)\s+"([^"]+)"/gm)) {
    if (name.startsWith(".")) walk(resolve(dirname(file), name), modules, interfaces);
    else interfaces.add(name);
  }
  return { modules, interfaces };
}

/** The longest folder that holds all files. */
function common(files) {
  let folder = dirname(files[0]);
  while (!files.every((file) => file.startsWith(folder + sep))) folder = dirname(folder);
  return folder;
}

const place = mkdtempSync(join(tmpdir(), "coracle-js-"));
try {
  const deps = join(place, "deps");
  mkdirSync(deps);
  for (const [version, rename] of [[PUBLISHED, true], ["0.3.0", false]]) {
    for (const name of readdirSync(join(published, version))) {
      const folder = join(deps, `${name}-${version}`);
      cpSync(join(published, version, name), folder, { recursive: true });
      for (const file of rename ? readdirSync(folder) : []) {
        const text = readFileSync(join(folder, file), "utf8");
        writeFileSync(join(folder, file), text.replaceAll(`${HOST}:`, `${GUEST}:`).replaceAll(PUBLISHED, OURS));
      }
    }
  }
  const entry = resolve(source);
  const { modules, interfaces } = walk(entry);
  const imports = [...interfaces].map((name) => `    import ${name};\n`).join("");
  writeFileSync(join(place, "world.wit"), `package app:app;\nworld app {\n${imports}    export ${EXPORTS[kind]};\n}\n`);
  const { component } = await componentize({
    witPath: place,
    world: "app",
    jsSource: readFileSync(entry, "utf8"),
    jsPath: entry,
    moduleRoot: common([...modules]),
    optSize: true,
  });
  // Nothing but names of interfaces is touched.
  const names = new RegExp(`${GUEST}:(?=(?:cli|clocks|filesystem|http|io|random|sockets)/)`, "g");
  const text = Buffer.from(component).toString("latin1").replace(names, `${HOST}:`);
  writeFileSync(output, Buffer.from(text, "latin1"));
} finally {
  rmSync(place, { recursive: true, force: true });
}
