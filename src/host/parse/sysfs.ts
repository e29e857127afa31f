/**
 * A sysfs tree to a capture part.
 *
 * One pass over all paths, each judged by its end, so that a live tree, a copy with or without
 * links, and a tar that starts anywhere give the same. Missing entries mean "not known" unless the
 * tree shows that it keeps links.
 */
import { type BarHint, ConfigSpace } from "../../pcie/index.js";
import { type Bdf, InputError, type InputPlace } from "../../units/index.js";
import type { CapturedFunction, CapturePart, Note, RecordedGroup, TreeFact } from "../capture.js";
import { groupsFrom } from "./groups-list.js";
import { parseReservedLine } from "./groups-reserved.js";
import type { SysfsFiles } from "./sysfs-files.js";
import { hostFacts } from "./sysfs-host.js";
import { type Draft, SysfsIndex } from "./sysfs-index.js";

/**
 * Undefined when the tree holds nothing of use. @throws InputError when an attribute or a table is
 * damaged.
 */
export function parseSysfs(tree: SysfsFiles, place: InputPlace): CapturePart | undefined {
  const index = new SysfsIndex(tree, place.file);
  const notes: Note[] = [];
  const functions: CapturedFunction[] = [];
  for (const draft of index.functions.values()) {
    if (draft.isShown) functions.push(describe(draft, index));
  }
  functions.sort((a, b) => a.bdf - b.bdf);
  const facts = hostFacts(tree, index, place, notes);
  const denied = functions.filter((f) => f.config.extent === 64).length;
  if (denied > 0) {
    const text =
      `${denied} of ${functions.length} functions show only their first 64 bytes: ` +
      "read without root, capture again as root";
    notes.push({ severity: "warning", text, place });
  }
  const recorded = recordedGroups(index, place);
  const details = groupDetails(index);
  const hangs = treeFacts(index);
  const nothing =
    functions.length === 0 && Object.keys(facts).length === 0 && recorded === undefined;
  if (nothing && hangs.length === 0 && details.length === 0) return undefined;
  return {
    kind: "sysfs",
    place,
    functions,
    facts,
    notes,
    ...(recorded !== undefined && { recorded }),
    ...(details.length > 0 && { groupDetails: details }),
    ...(hangs.length > 0 && { tree: hangs }),
  };
}

function describe(d: Draft, index: SysfsIndex): CapturedFunction {
  const at = { file: d.directory === "" ? index.file : `${index.file}/${d.directory}` };
  const ids = {
    vendor: number(d, "vendor", 0xffff),
    device: number(d, "device", 0xffff),
    subVendor: number(d, "subsystem_vendor", 0xffff),
    subDevice: number(d, "subsystem_device", 0xffff),
    revision: number(d, "revision", 0xff),
    classCode: number(d, "class", 0xffffff),
  };
  const bars = readResource(d);
  const slot = index.slots.get(Math.floor(d.bdf / 8));
  const label = d.text("label") ?? prefixed("index ", d.text("acpi_index"));
  const shown = shownFacts(d);
  const removable = d.text("removable");
  const untrusted = removable === "removable" || d.text("untrusted") === "1";
  const driver = d.driver ?? (index.keepsDriverLinks ? null : undefined);
  return {
    bdf: d.bdf,
    config: configOf(d),
    place: at,
    idsFrom: ids.vendor === undefined ? "hex" : "numeric",
    ...(ids.vendor !== undefined && { ids }),
    ...(bars.length > 0 && { bars }),
    ...(d.physfn !== undefined && { physfn: d.physfn }),
    ...(d.parent !== undefined && { parent: d.parent }),
    ...(driver !== undefined && { driver }),
    ...(slot !== undefined && { slot }),
    ...(label !== undefined && { label }),
    ...(untrusted && { untrusted }),
    ...(Object.keys(shown).length > 0 && { shown }),
  };
}

function configOf(d: Draft): ConfigSpace {
  const bytes = d.file("config");
  if (bytes === undefined) return new ConfigSpace(new Uint8Array(0), 0, new Uint8Array(512));
  const whole = ConfigSpace.fromDump(bytes.length > 4096 ? bytes.subarray(0, 4096) : bytes);
  let used = Math.min(bytes.length, whole.extent);
  while (used > 0 && bytes[used - 1] === 0) used--;
  return new ConfigSpace(bytes.slice(0, used), whole.extent);
}

function number(d: Draft, name: string, limit: number): number | undefined {
  const text = d.text(name);
  if (text === undefined || text === "") return undefined;
  const value = /^(?:0x)?[0-9a-f]{1,8}$/i.test(text) ? Number.parseInt(text, 16) : Number.NaN;
  if (value <= limit) return value;
  throw new InputError(`"${text.slice(0, 40)}" is no id`, d.place(name), "hexadecimal digits");
}

const IO = 0x100;
const MEMORY = 0x200;
const PREFETCH = 0x2000;
const UNSET = 0x20000000;
const MEMORY_64 = 0x100000;

/** Lines `start end flags` of the six BARs; the rest are the ROM, VF BARs and windows. */
function readResource(d: Draft): BarHint[] {
  const lines = d.text("resource")?.split("\n") ?? [];
  const out: BarHint[] = [];
  for (let index = 0; index < Math.min(6, lines.length); index++) {
    const m = /^0x([0-9a-f]{1,16}) 0x([0-9a-f]{1,16}) 0x([0-9a-f]{1,16})$/i.exec(
      lines[index] ?? "",
    );
    if (m === null) {
      const place = { ...d.place("resource"), line: index + 1 };
      throw new InputError("this line is no resource", place, "start, end and flags");
    }
    const first = BigInt(`0x${m[1]}`);
    const last = BigInt(`0x${m[2]}`);
    const flags = Number(BigInt(`0x${m[3]}`) & 0xffffffffn);
    if ((flags & (IO | MEMORY)) === 0 || last < first) continue;
    const unassigned = (flags & UNSET) !== 0 || first === 0n;
    out.push({
      index,
      size: last - first + 1n,
      kind: (flags & IO) !== 0 ? "io" : (flags & MEMORY_64) !== 0 ? "memory64" : "memory32",
      prefetchable: (flags & PREFETCH) !== 0,
      ...(unassigned ? { unassigned } : { base: first }),
    });
  }
  return out;
}

const SHOWN = [
  "numa_node",
  "reset_method",
  "sriov_totalvfs",
  "sriov_numvfs",
  "ari_enabled",
  "removable",
];

function shownFacts(d: Draft): Record<string, string> {
  const out: Record<string, string> = {};
  for (const name of SHOWN) {
    const text = d.text(name);
    if (text !== undefined && text !== "") out[name] = text;
  }
  return out;
}

const prefixed = (prefix: string, text: string | undefined): string | undefined =>
  text === undefined || text === "" ? undefined : prefix + text;

function recordedGroups(index: SysfsIndex, place: InputPlace): CapturePart["recorded"] {
  const pairs: [number, Bdf][] = [...index.members];
  for (const d of index.functions.values()) if (d.group !== undefined) pairs.push([d.group, d.bdf]);
  if (pairs.length === 0 && !index.showsGroupDirectory) return undefined;
  return { from: "sysfs", place, groups: groupsFrom(pairs) };
}

function groupDetails(index: SysfsIndex): Omit<RecordedGroup, "devices">[] {
  const out: Omit<RecordedGroup, "devices">[] = [];
  for (const [id, { type, regions }] of index.groupAttributes) {
    const reserved = (regions ?? "").split("\n").flatMap((l) => parseReservedLine(l) ?? []);
    out.push({
      id,
      ...(type !== undefined && { type }),
      ...(reserved.length > 0 && { reserved }),
    });
  }
  return out.sort((a, b) => a.id - b.id);
}

/** Where each bus hangs, from the paths below /sys/devices. */
function treeFacts(index: SysfsIndex): TreeFact[] {
  const out = new Map<number, TreeFact>();
  for (const d of index.functions.values()) {
    if (d.parent === undefined || d.physfn !== undefined) continue;
    const segment = Math.floor(d.bdf / 65536);
    const bus = Math.floor(d.bdf / 256) % 256;
    const key = segment * 256 + bus;
    if (!out.has(key)) out.set(key, { segment, bus, bridge: d.parent });
  }
  return [...out.values()];
}
