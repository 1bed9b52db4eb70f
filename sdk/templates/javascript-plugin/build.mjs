// Builds both components.
import { execFileSync } from "node:child_process";

for (const [kind, name] of [["example:plugin/text@0.1.0", "plugin"], ["command", "app"]]) {
  execFileSync(process.execPath, ["coracle/build.mjs", kind, `${name}.js`, `${name}.wasm`], { stdio: "inherit" });
}
