/**
 * `npm start [-- SOURCE [A B]]`: installs what is missing, builds, and shows the main job: the
 * groups of the captured machine that ships with the project (or of SOURCE), why two of its devices
 * belong together, and last what the host you are sitting at is.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ROOT, run, setup, stop } from "./setup.mjs";

const SHIPPED = join("examples", "captured-machine");
/**
 * Two cards in different slots of a switch without ACS: the kernel separates them, the switch does
 * not.
 */
const PAIR = ["0000:03:00.0", "0000:04:00.0"];

function say(text) {
  console.log(`\n${text}`);
}

function ioasis(...args) {
  say(`$ ioasis ${args.join(" ")}`);
  return run(process.execPath, [join(ROOT, "bin", "ioasis.js"), ...args]);
}

function main([source, ...pair]) {
  setup();
  const from = source ?? SHIPPED;
  if (!existsSync(join(ROOT, from)) && !existsSync(from)) stop(`there is no ${from}`);
  if (source === undefined) {
    say("A captured machine: Debian's kernel in QEMU, stored with the groups that kernel made.");
  }
  let status = ioasis("groups", "--from", from);
  const [a, b] = source === undefined ? PAIR : pair;
  if (a !== undefined)
    status ||= ioasis("explain", ...(b === undefined ? [a] : [a, b]), "--from", from);
  say("And this host:");
  ioasis("groups");
  process.exitCode = status;
}

main(process.argv.slice(2));
