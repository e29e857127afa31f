/**
 * Device names: data/pci-names.txt and src/host/data/device-names.gen.ts.
 *
 * usage: node dist/tools/gen-device-names.js [--check]
 *        node dist/tools/gen-device-names.js --from EDITION=FILE ...     newest edition first
 *
 * The first form makes the table from data/pci-names.txt and the ids in data/pci-quirks.json;
 * `--check` only compares. The second first makes data/pci-names.txt from several editions of
 * pci.ids: all vendors, devices and classes, an id once for each name it had. Subsystems are left
 * out.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./root.js";

const NAMES = join(ROOT, "data/pci-names.txt");
const QUIRKS = join(ROOT, "data/pci-quirks.json");
const TARGET = join(ROOT, "src/host/data/device-names.gen.ts");

interface Entry {
  /** Newest first. */
  readonly names: string[];
  readonly members: Map<string, Entry>;
}

interface Names {
  readonly vendors: Map<string, Entry>;
  readonly classes: Map<string, Entry>;
}

function addName(map: Map<string, Entry>, id: string, name: string): Entry {
  const entry: Entry = map.get(id) ?? { names: [], members: new Map() };
  map.set(id, entry);
  if (!entry.names.includes(name)) entry.names.push(name);
  return entry;
}

function read(text: string, into: Names): void {
  let open: Entry | undefined;
  let idLength = 4;
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#") || line.startsWith("\t\t")) continue;
    if (line.startsWith("\t")) {
      if (open === undefined) continue;
      addName(open.members, line.slice(1, 1 + idLength), clean(line.slice(1 + idLength)));
    } else if (line.startsWith("C ")) {
      open = addName(into.classes, line.slice(2, 4), clean(line.slice(4)));
      idLength = 2;
    } else if (/^[0-9a-f]{4} /.test(line)) {
      open = addName(into.vendors, line.slice(0, 4), clean(line.slice(4)));
      idLength = 4;
    } else open = undefined;
  }
}

const clean = (name: string): string => name.replace(/\s+/g, " ").trim();

function write(names: Names): string {
  const out: string[] = [];
  const section = (prefix: string, id: string, entry: Entry): void => {
    const [newest, ...older] = entry.names;
    out.push(`${prefix}${id}  ${newest}`);
    for (const [member, { names: all }] of sorted(entry.members)) {
      for (const name of all) out.push(`\t${member}  ${name}`);
    }
    for (const name of older) out.push(`${prefix}${id}  ${name}`);
  };
  for (const [id, entry] of sorted(names.vendors)) section("", id, entry);
  for (const [id, entry] of sorted(names.classes)) section("C ", id, entry);
  return `${out.join("\n")}\n`;
}

function sorted(map: ReadonlyMap<string, Entry>): [string, Entry][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

function merge(editions: readonly string[]): void {
  const names: Names = { vendors: new Map(), classes: new Map() };
  const stamps: string[] = [];
  for (const argument of editions) {
    const at = argument.indexOf("=");
    stamps.push(argument.slice(0, at));
    read(readFileSync(argument.slice(at + 1), "utf8"), names);
  }
  const head = [
    "# Names of PCI vendors, devices and classes, newest name first, from editions of pci.ids:",
    `# ${stamps.join(", ")}.`,
    "# Maintained by Albert Pool, Martin Mares and other volunteers of the PCI ID project",
    "# (https://pci-ids.ucw.cz/). That list may be distributed under the GNU General Public",
    "# License, version 2 or later, or the 3-clause BSD License; this extract is under the latter.",
    "",
  ];
  writeFileSync(NAMES, head.join("\n") + write(names));
}

/**
 * Vendor → the device ids the quirk data asks about; those without a vendor stand under {@link
 * ANY}.
 */
type Wanted = Map<number, Set<number>>;
const ANY = -1;

/** `8086:10c6`, `10de:2e00-2e3f`, `8086:*`, `9d10`, `a110-a11f` anywhere in the data. */
const IDS = /^(?:([0-9a-f]{4}):)?(?:\*|([0-9a-f]{4})(?:-([0-9a-f]{4}))?)$/;

function collect(value: unknown, key: string, into: Wanted): void {
  if (typeof value === "string") {
    const m = IDS.exec(value);
    if (m === null) return;
    const own = m[1] ?? (key === "subVendor" ? m[2] : undefined);
    const vendor = own === undefined ? ANY : Number.parseInt(own, 16);
    const devices = into.get(vendor) ?? new Set();
    into.set(vendor, devices);
    if (m[2] === undefined) return;
    const from = Number.parseInt(m[2], 16);
    const to = m[3] === undefined ? from : Number.parseInt(m[3], 16);
    for (let id = from; id <= to; id++) devices.add(id);
  } else if (Array.isArray(value)) {
    for (const item of value) collect(item, key, into);
  } else if (typeof value === "object" && value !== null) {
    for (const [name, item] of Object.entries(value)) collect(item, name, into);
  }
}

/**
 * The entries the quirk data asks about, and every other id of the same vendor with one of their
 * names.
 */
function select(all: Names, wanted: Wanted): Names {
  const out: Names = { vendors: new Map(), classes: all.classes };
  for (const [id, vendor] of all.vendors) {
    const own = wanted.get(Number.parseInt(id, 16));
    if (own === undefined) continue;
    const asks = new Set([...own, ...(wanted.get(ANY) ?? [])]);
    const names = new Set<string>();
    for (const [device, entry] of vendor.members) {
      if (!asks.has(Number.parseInt(device, 16))) continue;
      for (const name of entry.names) names.add(name);
    }
    const members = new Map<string, Entry>();
    for (const [device, entry] of vendor.members) {
      const asked = asks.has(Number.parseInt(device, 16));
      if (asked || entry.names.some((name) => names.has(name))) members.set(device, entry);
    }
    out.vendors.set(id, { names: vendor.names, members });
  }
  return out;
}

function generate(): string {
  const text = readFileSync(NAMES, "utf8");
  const all: Names = { vendors: new Map(), classes: new Map() };
  read(text, all);
  const wanted: Wanted = new Map();
  collect(JSON.parse(readFileSync(QUIRKS, "utf8")), "", wanted);
  const body = write(select(all, wanted));
  const escaped = body.replace(/[\\`]|\$\{/g, (found) => `\\${found}`);
  const editions = text.split("\n")[1]?.slice(2) ?? "";
  return [
    "// Generated by tools/gen-device-names.ts from data/pci-names.txt, data/pci-quirks.json.",
    "// Do not edit.",
    `// pci.ids ${editions} 3-clause BSD License; see data/pci-names.txt.`,
    "/** In the format of pci.ids: ids that quirk tables ask about, with all names; classes. */",
    `export const DEVICE_NAMES = \`${escaped}\`;`,
    "",
  ].join("\n");
}

function main(args: readonly string[]): number {
  if (args[0] === "--from") merge(args.slice(1));
  const wanted = generate();
  if (!args.includes("--check")) {
    writeFileSync(TARGET, wanted);
    return 0;
  }
  if (readFileSync(TARGET, "utf8") === wanted) return 0;
  console.log("src/host/data/device-names.gen.ts is not what its generator makes");
  return 1;
}

process.exitCode = main(process.argv.slice(2));
