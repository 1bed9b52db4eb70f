// Greets whom its argument names, and ends.
import { command } from "./coracle/command.js";

export const run = command(async ([whom = "nobody"]: string[]) => console.log(`hello, ${whom}`));
