/**
 * Parts of one host to one Capture.
 *
 * Who is believed: registers as bytes before decoded text, larger extents before smaller ones,
 * numeric ids before names. Devices that only a log names count when nothing else lists devices,
 * for a log also names what is gone. Observations that exclude each other (two lspci of different
 * boots) are refused: one host in one state.
 */
import { type Bdf, formatBdf, hex, type InputPlace } from "../units/index.js";
import type {
  Capture,
  CapturedFunction,
  CapturePart,
  Note,
  PartKind,
  RecordedGroups,
} from "./capture.js";
import { refuseContradictions, textAgainstDump } from "./merge-conflict.js";
import { mergeFacts } from "./merge-facts.js";
import { mergeFunction } from "./merge-function.js";
import { chooseRecorded } from "./merge-recorded.js";

/** Best first, for facts that several parts may state. */
const RANK: readonly PartKind[] = [
  "platform",
  "ioasis-capture",
  "sysfs",
  "device-list",
  "lspci-hex",
  "lspci-text",
  "kernel-release",
  "command-line",
  "dmar",
  "ivrs",
  "iort",
  "viot",
  "group-list",
  "lspci-tree",
  "dmesg",
  "pci-ids",
  "other",
];

/**
 * @param source what the user gave, for messages
 * @throws InputError when two parts cannot belong to one state of one host; it names the files.
 */
export function mergeParts(parts: readonly CapturePart[], source: InputPlace): Capture {
  const notes: Note[] = parts.flatMap((p) => p.notes ?? []);
  const ranked = [...parts].sort((a, b) => RANK.indexOf(a.kind) - RANK.indexOf(b.kind));
  const kept = dropOtherKernels(ranked, notes);
  refuseContradictions(kept, source);
  const facts = mergeFacts(kept, source, notes);
  const functions = mergeFunctions(kept, notes);
  const present = new Set(functions.map((f) => f.bdf));
  const rules = ranked.find((p) => p.rules !== undefined)?.rules;
  return {
    parts: parts.map(({ kind, place }) => ({ kind, place })),
    functions: hang(functions, kept),
    facts,
    ...(rules !== undefined && { rules }),
    recorded: knownOnly(chooseRecorded(kept, notes), present, notes),
    notes,
  };
}

/** Logs of other kernels than the one that /proc or `uname` names belong to earlier boots. */
function dropOtherKernels(parts: readonly CapturePart[], notes: Note[]): CapturePart[] {
  const named = parts.find((p) => p.kind !== "dmesg" && p.facts?.kernel !== undefined);
  const kernel = named?.facts?.kernel;
  if (kernel === undefined) return [...parts];
  return parts.filter((p) => {
    const other = p.facts?.kernel;
    if (p.kind !== "dmesg" || other === undefined || other === kernel) return true;
    const text = `this log is of kernel ${other}, the capture of ${kernel}: the log is not used`;
    notes.push({ severity: "warning", text, place: p.place });
    return false;
  });
}

function mergeFunctions(parts: readonly CapturePart[], notes: Note[]): CapturedFunction[] {
  const lists = parts.filter((p) => p.kind !== "dmesg" && (p.functions?.length ?? 0) > 0);
  const found = new Map<Bdf, CapturedFunction[]>();
  for (const part of lists.length > 0 ? lists : parts) {
    for (const f of part.functions ?? []) add(found, f);
  }
  if (lists.length > 0) addLogFacts(found, parts);
  const out: CapturedFunction[] = [];
  for (const list of found.values()) {
    out.push(mergeFunction(list));
    noteDump(list, notes);
  }
  return out.sort((a, b) => a.bdf - b.bdf);
}

/** Text and dump in different files were taken one after the other: status bits may differ. */
function noteDump(list: readonly CapturedFunction[], notes: Note[]): void {
  const [first] = list;
  const at = list.length < 2 ? undefined : textAgainstDump(list);
  if (first === undefined || at === undefined) return;
  const offset = `0x${hex(at, 2)}`;
  const device = formatBdf(first.bdf);
  notes.push({
    severity: "info",
    text: `${device}: text and hex dump differ at offset ${offset}; the dump is used`,
    place: { ...first.place, field: offset },
  });
}

function add(found: Map<Bdf, CapturedFunction[]>, f: CapturedFunction): void {
  const list = found.get(f.bdf);
  if (list === undefined) found.set(f.bdf, [f]);
  else list.push(f);
}

/** A log adds ids and hints to functions that are listed elsewhere, but no functions. */
function addLogFacts(found: Map<Bdf, CapturedFunction[]>, parts: readonly CapturePart[]): void {
  for (const part of parts) {
    if (part.kind !== "dmesg") continue;
    for (const f of part.functions ?? []) if (found.has(f.bdf)) add(found, f);
  }
}

/** Parents from trees, for functions whose own source names none. */
function hang(
  functions: readonly CapturedFunction[],
  parts: readonly CapturePart[],
): CapturedFunction[] {
  const parents = new Map<number, Bdf>();
  for (const part of parts) {
    for (const fact of part.tree ?? []) {
      const key = fact.segment * 256 + fact.bus;
      // Trees draw buses whose bridge is missing like root buses: only a named bridge says
      // something.
      if (fact.bridge !== null && !parents.has(key)) parents.set(key, fact.bridge);
    }
  }
  if (parents.size === 0) return [...functions];
  return functions.map((f) => {
    const parent = f.parent === undefined ? parents.get(Math.floor(f.bdf / 256)) : undefined;
    return parent === undefined ? f : { ...f, parent };
  });
}

/** Devices of recorded groups that the capture does not have were gone when it was taken. */
function knownOnly(
  recorded: RecordedGroups | null,
  present: ReadonlySet<Bdf>,
  notes: Note[],
): RecordedGroups | null {
  if (recorded === null) return null;
  const gone: Bdf[] = [];
  const groups = recorded.groups
    .map((group) => ({
      ...group,
      devices: group.devices.filter((d) => {
        if (!present.has(d)) gone.push(d);
        return present.has(d);
      }),
    }))
    .filter((group) => group.devices.length > 0);
  if (gone.length === 0) return recorded;
  const names = gone.slice(0, 3).map(formatBdf).join(", ");
  const more = gone.length > 3 ? " …" : "";
  const text = `${gone.length} devices have a recorded group but are not here: ${names}${more}`;
  notes.push({ severity: "info", text, place: recorded.place });
  return { ...recorded, groups };
}
