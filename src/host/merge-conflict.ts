/**
 * When parts cannot be observations of one host in one state.
 *
 * Two files of the same form may show the same function only if every byte that both know is equal.
 * Files of different form must agree on what does not change while a host runs: ids, class, header
 * type, bus numbers.
 */
import { type Bdf, formatBdf, hex, InputError, type InputPlace } from "../units/index.js";
import type { CapturedFunction, CapturePart } from "./capture.js";
import { samePartition } from "./merge-recorded.js";

/** Vendor and device, class, header type, secondary and subordinate bus. */
const LASTING: readonly number[] = [0, 1, 2, 3, 0x0a, 0x0b, 0x0e, 0x19, 0x1a];

interface Seen {
  readonly part: CapturePart;
  readonly fn: CapturedFunction;
}

/** @throws InputError naming the files that exclude each other and `--from FILE`. */
export function refuseContradictions(parts: readonly CapturePart[], source: InputPlace): void {
  // The message begins with the source; files below it are named without it.
  const short = (file: string): string =>
    file.startsWith(`${source.file}/`) ? file.slice(source.file.length + 1) : file;
  const files = parts.filter((p) => p.kind !== "other").map((p) => short(p.place.file));
  const contributing = new Set(files);
  const refuse = (a: InputPlace, b: InputPlace, why: string): InputError => {
    const problem = `${short(a.file)} and ${short(b.file)} show different states of a host: ${why}`;
    return new InputError(problem, source, expectation(contributing));
  };
  const torn = parts.find((p) => p.contradictsItself === true);
  if (torn !== undefined && contributing.size > 1) {
    const name = short(torn.place.file);
    const problem = `${name} lists the groups of a host more than once, and they differ`;
    throw new InputError(problem, source, expectation(contributing));
  }
  refuseFunctions(parts, refuse);
  refuseKernels(parts, refuse);
  refuseGroups(parts, refuse);
}

/** A folder of many hosts has more files than a message should list. */
const LISTED_FILES = 12;

function expectation(files: ReadonlySet<string>): string {
  const names = [...files].sort();
  const more = names.length > LISTED_FILES ? ` and ${names.length - LISTED_FILES} more` : "";
  return `one state; choose with --from FILE, of ${names.slice(0, LISTED_FILES).join(", ")}${more}`;
}

type Refuse = (a: InputPlace, b: InputPlace, why: string) => InputError;

function refuseFunctions(parts: readonly CapturePart[], refuse: Refuse): void {
  const seen = new Map<Bdf, Seen[]>();
  for (const part of parts) {
    for (const fn of part.functions ?? []) {
      const list = seen.get(fn.bdf);
      if (list === undefined) {
        seen.set(fn.bdf, [{ part, fn }]);
        continue;
      }
      for (const other of list) {
        const why = difference(other, { part, fn });
        if (why !== undefined)
          throw refuse(other.part.place, part.place, `${formatBdf(fn.bdf)} ${why}`);
      }
      list.push({ part, fn });
    }
  }
}

function difference(a: Seen, b: Seen): string | undefined {
  if (a.part.place.file === b.part.place.file) return undefined;
  const at = differingByte(a, b);
  if (at !== undefined) return `differs in its register 0x${hex(at, 3)}`;
  if (a.fn.idsFrom !== "numeric" || b.fn.idsFrom !== "numeric") return undefined;
  for (const field of ["vendor", "device"] as const) {
    const x = a.fn.ids?.[field];
    const y = b.fn.ids?.[field];
    if (x !== undefined && y !== undefined && x !== y)
      return `has the ${field} id ${hex(x, 4)} in one and ${hex(y, 4)} in the other`;
  }
  return undefined;
}

function differingByte(a: Seen, b: Seen): number | undefined {
  const x = a.fn.config;
  const y = b.fn.config;
  if (x.bytes.length === 0 || y.bytes.length === 0) return undefined;
  if (a.part.kind === b.part.kind && x.extent > 64 && y.extent > 64) {
    const end = Math.max(x.bytes.length, y.bytes.length);
    for (let at = 0; at < end; at++) if (differs(a.fn, b.fn, at)) return at;
    return undefined;
  }
  return LASTING.find((at) => differs(a.fn, b.fn, at));
}

/** Whether both know the byte and the bits that both state differ. */
function differs(a: CapturedFunction, b: CapturedFunction, at: number): boolean {
  const changed = a.config.u8(at) ^ b.config.u8(at);
  if (changed === 0 || (changed & stated(a, at) & stated(b, at)) === 0) return false;
  return a.config.isKnown(at, 1) && b.config.isKnown(at, 1);
}

/** Bits that the source states: all of a dump, some of decoded text. */
const stated = (f: CapturedFunction, at: number): number =>
  f.decided === undefined ? 0xff : (f.decided[at] ?? 0);

/** First byte in which decoded text and a dump of the same function differ. */
export function textAgainstDump(list: readonly CapturedFunction[]): number | undefined {
  const dump = list.find((f) => f.decided === undefined && f.config.extent > 64);
  for (const f of list) {
    if (dump === undefined || f.decided === undefined) continue;
    for (let at = 0; at < f.decided.length; at++) if (differs(f, dump, at)) return at;
  }
  return undefined;
}

function refuseKernels(parts: readonly CapturePart[], refuse: Refuse): void {
  const [first, ...rest] = parts.filter((p) => p.facts?.kernel !== undefined);
  for (const part of rest) {
    const a = first?.facts?.kernel;
    const b = part.facts?.kernel;
    if (first !== undefined && a !== b)
      throw refuse(first.place, part.place, `kernel ${a} in one and ${b} in the other`);
  }
}

function refuseGroups(parts: readonly CapturePart[], refuse: Refuse): void {
  const all = parts.filter((p) => (p.recorded?.groups.length ?? 0) > 0);
  // Logs of several boots do no harm where something better lists the groups.
  const better = all.filter((p) => p.recorded?.from !== "dmesg");
  const listing = better.length > 0 ? better : all;
  for (let i = 0; i < listing.length; i++) {
    for (let j = 0; j < i; j++) {
      const a = listing[j]?.recorded;
      const b = listing[i]?.recorded;
      if (a === undefined || b === undefined || a.from !== b.from) continue;
      if (a.place.file !== b.place.file && !samePartition(a.groups, b.groups))
        throw refuse(a.place, b.place, "they list different groups");
    }
  }
}
