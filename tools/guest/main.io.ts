/**
 * `npm run programs`, second half: a small Debian machine to boot as a guest of the unpacked QEMU.
 *
 * Writes `vmlinuz` and `initrd.gz` to a folder of the cache. The kernel is Debian's for virtual
 * machines; the only file system holds busybox, lspci and `init.sh`, which prints what the guest
 * sees of its devices and switches the machine off. Exit status 3: this machine cannot do it.
 */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { hostMirror, openRelease } from "../debian/apt.io.js";
import { ToolError } from "../debian/tool-error.js";
import { writeCpio } from "../ground-truth/cpio.js";
import { baseEntries } from "../ground-truth/initramfs.io.js";
import { prepareKernel } from "../ground-truth/kernel-image.io.js";
import { guestPackages, toolSuite } from "../ground-truth/kernel-source.js";
import { prepareToolRoot } from "../ground-truth/tool-root.io.js";

/** Small, and with everything a guest needs built in. */
const KERNEL = "linux-image-cloud-amd64";

const INIT = fileURLToPath(new URL("../../../tools/guest/init.sh", import.meta.url));

function main(): void {
  const { XDG_CACHE_HOME: base = join(homedir(), ".cache") } = process.env;
  const folder = join(base, "ioasis", "guest");
  mkdirSync(folder, { recursive: true });
  const release = openRelease(join(folder, ".."), toolSuite, "amd64", hostMirror(), false);
  const kernel = prepareKernel(release, folder, "6.12", KERNEL);
  const system = prepareToolRoot(release, folder, "guest", guestPackages);
  const archive = writeCpio(baseEntries(system, readFileSync(INIT)));
  copyFileSync(kernel.file, join(folder, "vmlinuz"));
  writeFileSync(join(folder, "initrd.gz"), gzipSync(archive, { level: 1 }));
  console.log(`a guest to boot in ${folder}`);
}

try {
  main();
} catch (error) {
  if (!(error instanceof ToolError)) throw error;
  console.error(error.message);
  process.exitCode = 3;
}
