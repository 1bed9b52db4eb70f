/** The environment's variables: what the pod's manifest says, and where Services are. */
export function env(): Record<string, string>;
/** Resolves after some milliseconds. */
export function sleep(milliseconds: number): Promise<void>;
/**
 * Makes a program that runs to its end of an async function, which gets the container's arguments:
 *
 *     export const run = command(async (args) => console.log("hello", ...args));
 *
 * When it rejects, the error is in the container's log and its exit code is 1.
 */
export function command(main: (args: string[]) => Promise<void> | void): { run(): Promise<void> };
