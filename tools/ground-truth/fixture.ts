/** What is stored of one boot: which files, in which form. */

import type { KernelName } from "./kernel-source.js";
import { filterKernelLog } from "./normalize.js";
import { defaultLspci, type Topology } from "./topology.js";

/** What was used to make a fixture; written into its `topology.txt`. */
export interface Provenance {
  readonly kernel: KernelName;
  readonly suite: string;
  readonly kernelPackage: string;
  readonly qemuPackage: string;
  readonly qemuVersion: string;
  readonly pciutilsVersion: string;
  /** The QEMU command line without paths of this machine. */
  readonly command: string;
}

const passedOn = [
  "groups.txt",
  "devices.txt",
  "reserved.txt",
  "lspci-t.txt",
  "cmdline.txt",
  "kernel.txt",
  "dmar.b64",
  "ivrs.b64",
  "iort.b64",
  "viot.b64",
];

/** Files of a fixture by name. `answer` holds the files the guest wrote. */
export function fixtureFiles(
  topology: Topology,
  answer: ReadonlyMap<string, Uint8Array>,
  provenance: Provenance,
): Map<string, string> {
  const decoder = new TextDecoder();
  const textOf = (name: string): string => decoder.decode(answer.get(name) ?? new Uint8Array());
  const files = new Map<string, string>();
  for (const name of passedOn) {
    const text = textOf(name);
    if (text !== "") files.set(name, text);
  }
  files.set("groups.txt", textOf("groups.txt"));
  files.set("lspci.txt", textOf("lspci.txt"));
  files.set("dmesg.txt", filterKernelLog(textOf("dmesg.txt")));
  files.set("topology.txt", describe(topology, provenance));
  return files;
}

/** Complaints of the guest; empty when all went as planned. */
export function problemsOf(answer: ReadonlyMap<string, Uint8Array>): string[] {
  const text = new TextDecoder().decode(answer.get("problems.txt") ?? new Uint8Array());
  return text.split("\n").filter((line) => line !== "");
}

/** Folder of a fixture below the fixture root. */
export function fixtureName(topology: Topology, kernel: KernelName): string {
  return `${topology.name}-${kernel}`;
}

function describe(topology: Topology, provenance: Provenance): string {
  const guest = topology.guest ?? {};
  const lines = [
    `name: ${topology.name}`,
    `shows: ${topology.shows}`,
    `kernel: Debian ${provenance.suite}, ${provenance.kernelPackage}, see kernel.txt`,
    `qemu: Debian package ${provenance.qemuPackage} ${provenance.qemuVersion}, ` +
      "no hardware acceleration",
    `lspci: lspci ${topology.lspci ?? defaultLspci}, pciutils ${provenance.pciutilsVersion}`,
  ];
  if (guest.modules !== undefined) lines.push(`modules: ${guest.modules.join(" ")}`);
  if (guest.sriov !== undefined) lines.push(`sriov: ${guest.sriov.join(" ")}`);
  if (guest.hotplug !== undefined) lines.push(`hotplug: ${guest.hotplug.join(" ")}`);
  if (guest.stub === true) lines.push("stub: pci-stub bound to each function without a driver");
  lines.push(`command: ${provenance.command}`, "arguments:", ...topology.qemu);
  return `${lines.join("\n")}\n`;
}
