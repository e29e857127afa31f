/**
 * Facts of the whole host in a sysfs and procfs tree: kernel, command line, firmware tables, IOMMU
 * units.
 */
import type { HostFacts } from "../../isolation/index.js";
import type { InputPlace } from "../../units/index.js";
import type { Note } from "../capture.js";
import { parseAcpiTable } from "./acpi.js";
import { looksLikeAcpiTable } from "./acpi-reader.js";
import { architectureOf, releaseIn } from "./kernel.js";
import type { SysfsFiles } from "./sysfs-files.js";
import { decode, type SysfsIndex } from "./sysfs-index.js";

const TABLE = /(?:^|\/)acpi\/tables\/([A-Z][A-Z0-9]{3})\d*$/;

type Draft = { -readonly [K in keyof HostFacts]: HostFacts[K] };

/** @throws InputError when a readable DMAR, IVRS, IORT or VIOT table is damaged. */
export function hostFacts(
  tree: SysfsFiles,
  index: SysfsIndex,
  place: InputPlace,
  notes: Note[],
): HostFacts {
  const facts: Draft = {};
  const tables = new Set<string>();
  for (const [path, bytes] of tree.files) {
    const table = TABLE.exec(path);
    if (table !== null) readTable(path, table[1] ?? "", bytes, { facts, tables, notes, place });
    else if (/(?:^|\/)proc\/cmdline$/.test(path)) facts.commandLine = decode(bytes);
    else if (/(?:^|\/)proc\/version$/.test(path)) readVersion(decode(bytes), facts);
    else if (/(?:^|\/)sys\/kernel\/osrelease$/.test(path)) facts.kernel ??= decode(bytes);
  }
  if (tables.size > 0) {
    facts.acpiTables = { present: [...tables].sort(), complete: tables.has("FACP") };
    facts.firmware = "acpi";
  } else if (showsDeviceTree(tree)) facts.firmware = "device-tree";
  if (index.units.length > 0 || index.showsUnitDirectory) {
    facts.iommus = index.units;
    facts.iommuInUse = index.units.length > 0;
  }
  if (index.childDomains.size > 0) facts.childDomains = [...index.childDomains.values()];
  return facts;
}

function readTable(
  path: string,
  signature: string,
  bytes: Uint8Array,
  out: { facts: Draft; tables: Set<string>; notes: Note[]; place: InputPlace },
): void {
  out.tables.add(signature);
  if (!/^(?:DMAR|IVRS|IORT|VIOT)$/.test(signature)) return;
  const at = { file: `${out.place.file}/${path}` };
  // Without root the file shows its name only.
  if (bytes.length === 0) {
    const text = `the ${signature} table is there but could not be read: root is needed`;
    out.notes.push({ severity: "warning", text, place: at });
    return;
  }
  if (!looksLikeAcpiTable(bytes)) return;
  const part = parseAcpiTable(bytes, at);
  const { dmar, ivrs, iort, viot, architecture } = part.facts ?? {};
  Object.assign(out.facts, definedOnly({ dmar, ivrs, iort, viot, architecture }));
  out.notes.push(...(part.notes ?? []));
}

function definedOnly(fields: HostFacts): HostFacts {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function readVersion(text: string, facts: Draft): void {
  const kernel = releaseIn(text);
  if (kernel !== undefined) facts.kernel = kernel;
  const architecture = architectureOf(text);
  if (architecture !== undefined) facts.architecture ??= architecture;
}

function showsDeviceTree(tree: SysfsFiles): boolean {
  const pattern = /(?:^|\/)(?:firmware\/devicetree|proc\/device-tree)(?:\/|$)/;
  for (const path of tree.directories) if (pattern.test(path)) return true;
  for (const path of tree.links.keys()) if (pattern.test(path)) return true;
  return false;
}
