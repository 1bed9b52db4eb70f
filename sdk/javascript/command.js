// A program that runs to its end: a Job, a CronJob, a controller.
import environment from "wasq:cli/environment@0.2.10";
import "./src/console.js";
import "./src/text.js";
import { drive, sleep } from "./src/loop.js";

export { sleep };

/** The environment's variables. */
export const env = () => Object.fromEntries(environment.getEnvironment());

/** Makes a program of an async function: `export const run = command(async (args) => { … })`. */
export function command(main) {
  return {
    async run() {
      try {
        await drive(Promise.resolve(environment.getArguments().slice(1)).then(main));
      } catch (error) {
        console.error(error);
        throw undefined;
      }
    },
  };
}
