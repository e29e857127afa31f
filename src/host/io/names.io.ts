/**
 * Files of names: the host's pci.ids, and the list of four editions that comes with the package.
 * Each is read when the first name has to be looked up. Asking both finds renamed devices, and
 * every id of a shared name.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type NameTable, parsePciIds } from "../index.js";

const PATHS = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids", "/usr/share/pci.ids"];

/** Seen from dist/src/host/io and from dist/bundle. */
const PACKAGED = ["../../../../data/pci-names.txt", "../../data/pci-names.txt"];

/** The names that come with the package: old and new names of all vendors and devices. */
export function packagedNames(): NameTable {
  return systemNames(PACKAGED.map((path) => fileURLToPath(new URL(path, import.meta.url))));
}

/** Answers nothing when the host has no such file. */
export function systemNames(paths: readonly string[] = PATHS): NameTable {
  let table: NameTable | null | undefined;
  const get = (): NameTable | null => {
    if (table === undefined) table = read(paths);
    return table;
  };
  return {
    classId: (name) => get()?.classId(name),
    vendorIds: (name) => get()?.vendorIds(name) ?? [],
    deviceIds: (vendor, name) => get()?.deviceIds(vendor, name) ?? [],
    subsystemIds: (vendor, device, name) => get()?.subsystemIds(vendor, device, name) ?? [],
  };
}

function read(paths: readonly string[]): NameTable | null {
  for (const path of paths) {
    try {
      return parsePciIds(readFileSync(path, "utf8"), path);
    } catch {
      // The next place.
    }
  }
  return null;
}
