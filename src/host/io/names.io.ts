/** The host's pci.ids file, read when the first name has to be looked up. */
import { readFileSync } from "node:fs";
import { type NameTable, parsePciIds } from "../index.js";

const PATHS = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids", "/usr/share/pci.ids"];

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
