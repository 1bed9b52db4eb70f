// What a program waits for: many things at once, each a promise.
import poll from "wasq:io/poll@0.2.10";
import clock from "wasq:clocks/monotonic-clock@0.2.10";
import turns from "wasi:clocks/monotonic-clock@0.3.0";

/** Nanoseconds of a millisecond. */
const MILLISECOND = 1_000_000;

/** While something else may go on beside what is waited for here: how often to look, in milliseconds. */
const LOOK = 5;

/** What is waited for, and who does. */
const waiting = new Map();

/** Resolves when something of the host is ready: a pollable, which is taken. */
export function ready(pollable) {
  return new Promise((resolve) => waiting.set(pollable, resolve));
}

/** Resolves after some milliseconds. */
export async function sleep(milliseconds) {
  await ready(clock.subscribeDuration(Math.max(0, Math.round(milliseconds * MILLISECOND))));
}

/** Waits until the first is ready of all that is waited for; at most `LOOK` when the host tells of other things too. */
function pass(others) {
  const pollables = [...waiting.keys()];
  const timer = others ? [clock.subscribeDuration(LOOK * MILLISECOND)] : [];
  for (const index of poll.poll([...pollables, ...timer])) {
    const pollable = pollables[index];
    if (pollable === undefined) continue;
    const resolve = waiting.get(pollable);
    waiting.delete(pollable);
    pollable[Symbol.dispose]();
    resolve();
  }
  timer.forEach((pollable) => pollable[Symbol.dispose]());
}

/** Runs a program to its end, which is that of its promise. `others`: it also waits for what no pollable tells. */
export async function drive(program, others = false) {
  let ended = false;
  const end = program.finally(() => (ended = true));
  end.catch(() => {});
  while (!ended) {
    // Whatever can go on does, before the host is asked again.
    await turns.waitFor(1);
    if (ended) break;
    if (waiting.size > 0) pass(others);
    else await turns.waitFor(LOOK * MILLISECOND);
  }
  return end;
}

let timers = 0;
const running = new Set();
globalThis.setTimeout ??= (callback, milliseconds = 0, ...rest) => {
  const id = ++timers;
  running.add(id);
  sleep(milliseconds).then(() => running.delete(id) && callback(...rest));
  return id;
};
globalThis.clearTimeout ??= (id) => running.delete(id);
