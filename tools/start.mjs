/**
 * `npm start [-- SOURCE [A B]]`: installs what is missing, builds, and shows the main job: the
 * groups of the captured machine that ships with the project (or of SOURCE), why two of its devices
 * belong together, and last what the host you are sitting at is.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, run, setup, stop } from "./setup.mjs";

const SHIPPED = join("examples", "captured-machine");

function say(text) {
  console.log(`\n${text}`);
}

function ioasis(...args) {
  say(`$ ioasis ${args.join(" ")}`);
  return run(process.execPath, [join(ROOT, "bin", "ioasis.js"), ...args]);
}

/**
 * Two cards in different slots of a switch without ACS: the kernel separates them, the switch does
 * not. The file `pair` beside the capture names them.
 */
function shippedPair() {
  return readFileSync(join(ROOT, SHIPPED, "pair"), "utf8")
    .trim()
    .split(/\s+/);
}

function main([source, ...pair]) {
  setup();
  const from = source ?? SHIPPED;
  if (!existsSync(join(ROOT, from)) && !existsSync(from)) stop(`there is no ${from}`);
  if (source === undefined) {
    say("A captured machine: Debian's kernel in QEMU, stored with the groups that kernel made.");
  }
  let status = ioasis("groups", "--from", from);
  const [a, b] = source === undefined ? shippedPair() : pair;
  if (a !== undefined) {
    const devices = b === undefined ? [a] : [a, b];
    status ||= ioasis("explain", ...devices, "--from", from);
  }
  say("And this host:");
  ioasis("groups");
  process.exitCode = status;
}

main(process.argv.slice(2));
