/** The shipped name table: class names, and the devices and vendors whose ids decide something. */
import { DEVICE_NAMES } from "../data/device-names.gen.js";
import type { NameTable } from "./names.js";
import { parsePciIds } from "./names-pci-ids.js";

let table: NameTable | undefined;

/** Made on first use; see tools/gen-device-names.ts for what it holds. */
export function builtInNames(): NameTable {
  table ??= parsePciIds(DEVICE_NAMES, "device-names.gen.ts");
  return table;
}
