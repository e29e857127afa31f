/**
 * Platform: the kind of machine QEMU emulates, and what has to be fetched for it.
 *
 * `pc` has ACPI tables. `arm-acpi` boots through UEFI firmware and has an IORT table;
 * `arm-devicetree` starts the kernel directly, which then learns of the SMMU from a device tree.
 */

import type { Architecture } from "../debian/apt.io.js";

export type PlatformName = "pc" | "arm-acpi" | "arm-devicetree";

export interface Platform {
  /** Architecture of the guest. */
  readonly architecture: Architecture;
  /** QEMU's program, below the unpacked packages. */
  readonly program: string;
  /** The Debian package that has it. */
  readonly package: string;
  /** QEMU arguments that do not depend on the topology. */
  readonly arguments: readonly string[];
  /** Firmware file below the unpacked packages, passed with `-bios`. */
  readonly firmware?: string;
  /** Kernel options for the console and a quick boot; none touches PCI or the IOMMU. */
  readonly cmdline: readonly string[];
  /** The serial port the guest writes its answer to. */
  readonly answerPort: string;
}

const quiet = [
  ...["-m", "768", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
  ...["-accel", "tcg", "-smp", "1"],
];

const arm = {
  architecture: "arm64",
  program: "usr/bin/qemu-system-aarch64",
  package: "qemu-system-arm",
  arguments: ["-machine", "virt,gic-version=3,iommu=smmuv3", "-cpu", "cortex-a72", ...quiet],
  cmdline: ["console=ttyAMA0", "nokaslr", "mitigations=off"],
  answerPort: "/dev/ttyAMA1",
} as const;

export const platforms: Readonly<Record<PlatformName, Platform>> = {
  pc: {
    architecture: "amd64",
    program: "usr/bin/qemu-system-x86_64",
    package: "qemu-system-x86",
    arguments: ["-machine", "q35,kernel-irqchip=split", "-cpu", "max", ...quiet],
    cmdline: ["console=ttyS0", "nokaslr", "mitigations=off", "tsc=reliable", "no_timer_check"],
    answerPort: "/dev/ttyS1",
  },
  "arm-acpi": { ...arm, firmware: "usr/share/qemu-efi-aarch64/QEMU_EFI.fd" },
  "arm-devicetree": arm,
};
