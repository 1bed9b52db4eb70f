// An application that leaves a part of its work to whatever component is plugged in.
import text from "example:plugin/text@0.1.0";
import { command } from "./coracle/command.js";

export const run = command(async () => console.log(text.transform("hello, world")));
