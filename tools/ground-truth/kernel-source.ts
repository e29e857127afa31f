/**
 * The kernels that act as judge: which Debian release carries them.
 *
 * A kernel is named by the rule set it stands for ("6.1" for `linux-6.1`). The point release is
 * whatever the Debian release ships on the day of the run; each fixture records it in `kernel.txt`.
 */
import type { Architecture } from "../debian/apt.io.js";

/** Name of a rule set's kernel, and of the folder suffix of its fixtures. */
export type KernelName = "6.1" | "6.12" | "7.2";

export interface KernelSource {
  readonly name: KernelName;
  /** Debian release whose `linux-image-ARCHITECTURE` is this kernel. */
  readonly suite: string;
}

export const kernelSources: readonly KernelSource[] = [
  { name: "6.1", suite: "bookworm" },
  { name: "6.12", suite: "trixie" },
  { name: "7.2", suite: "forky" },
];

/** Debian release that QEMU, lspci and busybox are taken from, whatever the kernel. */
export const toolSuite = "trixie";

/** Package whose dependency names the kernel image of a release. */
export function kernelPackage(architecture: Architecture): string {
  return `linux-image-${architecture}`;
}

/** Packages of the host's architecture that the tool runs. */
export const hostPackages: readonly string[] = [
  "qemu-system-x86",
  "qemu-system-arm",
  "qemu-efi-aarch64",
  "pciutils",
  "pci.ids",
  "xz-utils",
];

/** Packages of the guest's architecture that go into its first file system. */
export const guestPackages: readonly string[] = ["pciutils", "pci.ids", "busybox-static"];
