// build.mjs SOURCE OUTPUT.wasm: makes a component of a module.
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { componentize } from "@bytecodealliance/componentize-js";

const [sourcePath, output] = process.argv.slice(2);
const wit = ".coracle/wit";
rmSync(wit, { recursive: true, force: true });
mkdirSync(`${wit}/deps`, { recursive: true });
cpSync("node_modules/@bytecodealliance/jco/lib/wit/builtin/0.2.12", `${wit}/deps`, { recursive: true });
writeFileSync(`${wit}/world.wit`, `package example:app;
world app {
    include wasi:http/proxy@0.2.12;
    import wasi:cli/environment@0.2.12;
}
`);
const disableFeatures = ["fetch-event", "http"];
const { component } = await componentize({ sourcePath, witPath: wit, worldName: "app", disableFeatures });
writeFileSync(output, component);
