// Greets whom its argument names, and ends.
import { command } from "./coracle/command.js";

export const run = command(async ([whom = "nobody"]) => console.log(`hello, ${whom}`));
