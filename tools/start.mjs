/**
 * `npm start [-- SOURCE [A B]]`: installs what is missing, builds, and shows the main job: the
 * groups of the captured machine that ships with the project (or of SOURCE), why two of its devices
 * belong together, then a C program that owns two devices of a simulated host through /dev/iommu,
 * and last what the host you are sitting at is.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
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

/**
 * Compiles the lesson about two devices behind a switch without ACS and runs it on a platform: it
 * sees a Linux machine with an IOMMU, whatever this one is.
 */
function programOnPlatform() {
  if (process.platform !== "linux") {
    say("Programs run on a simulated host on Linux only.");
    return 0;
  }
  const folder = mkdtempSync(join(tmpdir(), "ioasis-start-"));
  try {
    const program = join(folder, "the-e-mail");
    const source = join("examples", "programs", "the-e-mail.c");
    say("A C program owns two devices of a simulated host, through /dev/iommu and VFIO.");
    console.log(`$ cc -I client -o the-e-mail ${source}`);
    const cc = spawnSync("cc", ["-I", "client", "-o", program, source], {
      cwd: ROOT,
      stdio: "inherit",
    });
    if (cc.error !== undefined) stop("There is no C compiler (cc): install gcc or clang.");
    if (cc.status !== 0) return 1;
    const platform = join("examples", "platforms", "the-e-mail.yaml");
    return ioasis("run", "--platform", platform, "--", program, "0000:03:00.0", "0000:04:00.0");
  } finally {
    rmSync(folder, { recursive: true });
  }
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
  if (source === undefined) status ||= programOnPlatform();
  say("And this host:");
  ioasis("groups");
  process.exitCode = status;
}

main(process.argv.slice(2));
