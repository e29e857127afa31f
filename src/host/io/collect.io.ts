/**
 * The live host: the parts of /sys and /proc that a capture needs, as a tree. Nothing else reads
 * them.
 *
 * Works without root; then configuration space ends after 64 bytes and firmware tables cannot be
 * opened, which the reader of the tree notes. Devices may vanish while this runs: what is gone is
 * left out.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { SysfsFiles } from "../index.js";
import { ATTRIBUTE_LIMIT_BYTES } from "./limits.js";

const ATTRIBUTES = [
  "config",
  "vendor",
  "device",
  "class",
  "revision",
  "subsystem_vendor",
  "subsystem_device",
  "resource",
  "numa_node",
  "reset_method",
  "label",
  "acpi_index",
  "removable",
  "sriov_totalvfs",
  "sriov_numvfs",
  "ari_enabled",
];
const LINKS = ["driver", "iommu_group", "physfn"];
const TABLES = /^(?:[A-Z][A-Z0-9]{3})\d*$/;
const NEEDED_TABLES = /^(?:DMAR|IVRS|IORT|VIOT)$/;

/** This host's name, to be taken out of captures that are handed on. */
export function hostName(): string {
  return hostname();
}

/** Whether the directory holds a sysfs tree of PCI devices at its usual place. */
export function holdsSysfs(root: string): boolean {
  return (
    statSync(join(root, "sys/bus/pci/devices"), { throwIfNoEntry: false })?.isDirectory() === true
  );
}

/** @param root "/" for this host, or a directory that has `sys` and perhaps `proc` in it. */
export function collectSysfs(root: string): SysfsFiles {
  const collector = new Collector(root);
  collector.devices();
  collector.groups();
  collector.units();
  collector.slots();
  collector.firmware();
  for (const path of ["proc/cmdline", "proc/version", "proc/sys/kernel/osrelease"])
    collector.file(path);
  return collector.tree;
}

class Collector {
  readonly tree = new SysfsFiles();
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  devices(): void {
    const directory = "sys/bus/pci/devices";
    for (const name of this.#list(directory)) {
      const path = `${directory}/${name}`;
      // A link on a live host and in most copies; a directory in copies that followed links.
      this.link(path);
      for (const attribute of ATTRIBUTES) this.file(`${path}/${attribute}`);
      for (const link of LINKS) this.link(`${path}/${link}`);
    }
  }

  groups(): void {
    const directory = "sys/kernel/iommu_groups";
    if (!this.#directory(directory)) return;
    for (const id of this.#list(directory)) {
      const path = `${directory}/${id}`;
      this.file(`${path}/type`);
      this.file(`${path}/reserved_regions`);
      for (const device of this.#list(`${path}/devices`)) this.link(`${path}/devices/${device}`);
    }
  }

  units(): void {
    const directory = "sys/class/iommu";
    if (!this.#directory(directory)) return;
    for (const unit of this.#list(directory)) {
      const path = `${directory}/${unit}`;
      this.link(path);
      for (const name of ["cap", "ecap", "address", "version"])
        this.file(`${path}/intel-iommu/${name}`);
      for (const name of ["features", "cap"]) this.file(`${path}/amd-iommu/${name}`);
      for (const device of this.#list(`${path}/devices`)) this.link(`${path}/devices/${device}`);
    }
  }

  slots(): void {
    const directory = "sys/bus/pci/slots";
    for (const slot of this.#list(directory)) this.file(`${directory}/${slot}/address`);
  }

  firmware(): void {
    const directory = "sys/firmware/acpi/tables";
    for (const name of this.#list(directory)) {
      if (!TABLES.test(name)) continue;
      const path = `${directory}/${name}`;
      if (NEEDED_TABLES.test(name)) this.file(path);
      // The name alone says that the table exists.
      if (!this.tree.files.has(path)) this.tree.files.set(path, new Uint8Array(0));
    }
    this.#directory("sys/firmware/devicetree");
  }

  file(path: string): void {
    try {
      const bytes = readFileSync(join(this.#root, path));
      if (bytes.length <= ATTRIBUTE_LIMIT_BYTES) this.tree.files.set(path, bytes);
    } catch {
      // Not there, not readable without root, or gone meanwhile: not known.
    }
  }

  link(path: string): void {
    try {
      this.tree.links.set(path, readlinkSync(join(this.#root, path)));
    } catch {
      // No link here.
    }
  }

  #directory(path: string): boolean {
    const there = statSync(join(this.#root, path), { throwIfNoEntry: false })?.isDirectory();
    if (there === true) this.tree.directories.add(path);
    return there === true;
  }

  #list(path: string): string[] {
    try {
      return readdirSync(join(this.#root, path)).sort();
    } catch {
      return [];
    }
  }
}
