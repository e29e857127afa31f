/**
 * IVRS: AMD's I/O Virtualization Reporting Structure. AMD I/O Virtualization 3.10 § 5.
 *
 * A unit may be described by blocks of type 10h, 11h and 40h; each newer type replaces the older
 * ones, so only the blocks of the highest type count for a unit. Requester IDs here are 16 bits
 * within the segment.
 */
import type { IvmdRegion, IvrsTable, IvrsUnit } from "../../isolation/index.js";
import { bdfFromRid, hex, type InputPlace } from "../../units/index.js";
import type { Note } from "../capture.js";
import { type AcpiReader, openTable, walkStructures } from "./acpi-reader.js";

const BLOCKS_FROM = 48;
/** Lengths of device entries by the top two bits of their type. */
const ENTRY_SIZES: readonly number[] = [4, 8, 16, 32];
const ENTRY_ACPI_HID = 0xf0;

interface Block {
  readonly type: number;
  readonly unit: IvrsUnit;
}

/** @throws InputError with the offset when length, checksum or a structure is wrong. */
export function parseIvrs(
  bytes: Uint8Array,
  place: InputPlace,
): { readonly table: IvrsTable; readonly notes: readonly Note[] } {
  const reader = openTable(bytes, "IVRS", place);
  const blocks = new Map<string, Block[]>();
  const memory: IvmdRegion[] = [];
  walkStructures(
    reader,
    BLOCKS_FROM,
    bytes.length,
    (at) => reader.u16(at + 2),
    (at, end) => {
      const type = reader.u8(at);
      if (type === 0x10 || type === 0x11 || type === 0x40) {
        const block = { type, unit: readUnit(reader, at, end, type) };
        const key = `${block.unit.iommu}:${block.unit.base}`;
        blocks.set(key, [...(blocks.get(key) ?? []), block]);
      } else if (type >= 0x20 && type <= 0x22) memory.push(readMemory(reader, at, end, type));
      else reader.warn(at, `a block of unknown type 0x${hex(type, 2)} was skipped`);
    },
  );
  const units: IvrsUnit[] = [];
  for (const list of blocks.values()) {
    const highest = list.reduce((top, b) => Math.max(top, b.type), 0);
    for (const b of list) if (b.type === highest) units.push(b.unit);
  }
  return { table: { units, memory }, notes: reader.notes };
}

function readUnit(r: AcpiReader, at: number, end: number, type: number): IvrsUnit {
  const segment = r.u16(at + 16);
  const extended = type !== 0x10;
  const entries = new DeviceEntries(r);
  entries.read(at + (extended ? 40 : 24), end);
  return {
    segment,
    iommu: bdfFromRid(segment, r.u16(at + 4)),
    base: r.u64(at + 8),
    covered: entries.covered,
    aliases: entries.aliases,
    ...(extended && {
      efr: r.u64(at + 24),
      efr2: r.u64(at + 32),
      hostTablesDisabled: (r.u32(at + 20) & 1) !== 0,
    }),
  };
}

interface OpenRange {
  readonly first: number;
  readonly alias: number | undefined;
  readonly at: number;
}

/**
 * Device entries of one block, § 5.2.2.1: single functions, and ranges from a start to an end
 * entry.
 */
class DeviceEntries {
  readonly covered: { first: number; last: number }[] = [];
  readonly aliases: { first: number; last: number; alias: number }[] = [];
  readonly #r: AcpiReader;
  #open: OpenRange | undefined;

  constructor(r: AcpiReader) {
    this.#r = r;
  }

  read(from: number, to: number): void {
    walkStructures(
      this.#r,
      from,
      to,
      (at) => this.#size(at),
      (at) => this.#entry(at),
    );
    if (this.#open !== undefined)
      this.#r.warn(this.#open.at, "a range starts here and never ends: it covers nothing");
  }

  #size(at: number): number {
    const type = this.#r.u8(at);
    // ACPI device entry: 22 bytes and a unique ID whose length is the last of them.
    if (type === ENTRY_ACPI_HID) return 22 + this.#r.u8(at + 21);
    return ENTRY_SIZES[type >>> 6] ?? 4;
  }

  #entry(at: number): void {
    const r = this.#r;
    const type = r.u8(at);
    const id = r.u16(at + 1);
    switch (type) {
      case 0x00: // padding
        return;
      case 0x01: // all
        this.#cover(0, 0xffff);
        return;
      case 0x02: // one
      case 0x46: // one, extended settings
      case ENTRY_ACPI_HID:
        this.#cover(id, id);
        return;
      case 0x42: // one under another ID
        this.#alias(id, id, r.u16(at + 5));
        return;
      case 0x03: // range
      case 0x47: // range, extended settings
        this.#start({ first: id, alias: undefined, at });
        return;
      case 0x43: // range under another ID
        this.#start({ first: id, alias: r.u16(at + 5), at });
        return;
      case 0x04:
        this.#end(at, id);
        return;
      case 0x48: // IOAPIC or HPET: the requester ID it sends with
        this.#cover(r.u16(at + 5), r.u16(at + 5));
        return;
      default:
        r.warn(at, `a device entry of unknown type 0x${hex(type, 2)} was skipped`);
    }
  }

  #start(range: OpenRange): void {
    if (this.#open !== undefined)
      this.#r.warn(this.#open.at, "a range starts here and never ends: it covers nothing");
    this.#open = range;
  }

  #end(at: number, last: number): void {
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined) {
      this.#r.warn(at, "a range ends here that never started: the entry was skipped");
      return;
    }
    if (last < open.first) {
      this.#r.warn(at, `the range ends at 0x${hex(last, 4)}, before its start: it covers nothing`);
      return;
    }
    if (open.alias === undefined) this.#cover(open.first, last);
    else this.#alias(open.first, last, open.alias);
  }

  #cover(first: number, last: number): void {
    this.covered.push({ first, last });
  }

  /** Both IDs belong to the unit. */
  #alias(first: number, last: number, alias: number): void {
    this.#cover(first, last);
    if (alias < first || alias > last) this.#cover(alias, alias);
    this.aliases.push({ first, last, alias });
  }
}

function readMemory(r: AcpiReader, at: number, end: number, type: number): IvmdRegion {
  if (end - at < 32) throw r.error(at, `a memory block of ${end - at} bytes`, "32 bytes");
  const flags = r.u8(at + 1);
  const first = type === 0x20 ? 0 : r.u16(at + 4);
  const last = type === 0x20 ? 0xffff : type === 0x21 ? first : r.u16(at + 6);
  const start = r.u64(at + 16);
  const length = r.u64(at + 24);
  if (length === 0n) throw r.error(at + 24, "a memory block of length 0");
  return {
    segment: r.u16(at + 8),
    kind: type === 0x20 ? "all" : type === 0x21 ? "one" : "range",
    first,
    last,
    span: { first: start, last: start + length - 1n },
    unity: (flags & 1) !== 0,
    exclusion: (flags & 8) !== 0,
  };
}
