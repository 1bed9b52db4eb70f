// build.mjs SOURCE.js WIT WORLD OUTPUT.wasm: makes a component of a module.
import { writeFileSync } from "node:fs";
import { componentize } from "@bytecodealliance/componentize-js";

const [sourcePath, witPath, worldName, output] = process.argv.slice(2);
const disableFeatures = ["fetch-event", "http"];
const { component } = await componentize({ sourcePath, witPath, worldName, disableFeatures });
writeFileSync(output, component);
