/**
 * IORT: Arm's I/O Remapping Table, DEN0049E.
 *
 * Nodes refer to each other by their offset in the table. What counts here: which requester IDs of
 * a PCI root complex reach an SMMU, and the reserved memory ranges of streams.
 */
import type { IortReserved, IortRootComplex, IortTable } from "../../isolation/index.js";
import type { InputPlace } from "../../units/index.js";
import type { Note } from "../capture.js";
import { type AcpiReader, openTable } from "./acpi-reader.js";

const NODE_HEADER = 16;
const MAPPING_SIZE = 20;
const RANGE_SIZE = 20;
/** No host has as many; ends a count that garbage made. */
const NODE_LIMIT = 65536;

/** Node types, § 3.1. */
const Node = { Its: 0, Named: 1, RootComplex: 2, Smmu: 3, Smmuv3: 4, Pmcg: 5, Rmr: 6 } as const;

/** @throws InputError with the offset when length, checksum or a node is wrong. */
export function parseIort(
  bytes: Uint8Array,
  place: InputPlace,
): { readonly table: IortTable; readonly notes: readonly Note[] } {
  const r = openTable(bytes, "IORT", place);
  const nodes = listNodes(r);
  const rootComplexes: IortRootComplex[] = [];
  const reserved: IortReserved[] = [];
  for (const [at, end] of nodes) {
    const type = r.u8(at);
    if (type === Node.RootComplex) rootComplexes.push(readRootComplex(r, at, end, nodes));
    else if (type === Node.Rmr) reserved.push(readReserved(r, at, end, nodes));
    else if (type > Node.Rmr) r.warn(at, `a node of unknown type ${type} was skipped`);
  }
  const table = { rootComplexes, ...(reserved.length > 0 && { reserved }) };
  return { table, notes: r.notes };
}

/** Start → end of every node. */
function listNodes(r: AcpiReader): Map<number, number> {
  const count = r.u32(36);
  const nodes = new Map<number, number>();
  if (count > NODE_LIMIT) throw r.error(36, `${count} nodes`, `at most ${NODE_LIMIT}`);
  let at = r.u32(40);
  if (count > 0 && at < 48) throw r.error(40, "the nodes start inside the header");
  for (let i = 0; i < count; i++) {
    const length = r.u16(at + 1);
    if (length < NODE_HEADER) throw r.error(at, `a node of ${length} bytes`, "at least 16 bytes");
    if (at + length > r.bytes.length)
      throw r.error(at, `a node of ${length} bytes runs past the end of the table`);
    nodes.set(at, at + length);
    at += length;
  }
  return nodes;
}

interface Mapping {
  readonly inputBase: number;
  /** Number of IDs. */
  readonly count: number;
  readonly outputBase: number;
  readonly target: number;
  readonly single: boolean;
  readonly to: IortRootComplex["mappings"][number]["to"];
}

function* readMappings(
  r: AcpiReader,
  at: number,
  end: number,
  nodes: ReadonlyMap<number, number>,
): Generator<Mapping> {
  const count = r.u32(at + 8);
  const from = at + r.u32(at + 12);
  if (count > 0 && from + count * MAPPING_SIZE > end)
    throw r.error(at + 8, `${count} ID mappings do not fit into the node`);
  for (let i = 0; i < count; i++) {
    const m = from + i * MAPPING_SIZE;
    const target = r.u32(m + 12);
    if (!nodes.has(target)) throw r.error(m + 12, `no node starts at offset ${target}`);
    yield {
      inputBase: r.u32(m),
      count: r.u32(m + 4) + 1,
      outputBase: r.u32(m + 8),
      target,
      single: (r.u32(m + 16) & 1) !== 0,
      to: targetKind(r.u8(target)),
    };
  }
}

function targetKind(type: number): Mapping["to"] {
  if (type === Node.Smmu) return "smmu";
  if (type === Node.Smmuv3) return "smmuv3";
  return type === Node.Its ? "its" : "other";
}

/** § 3.1.1.3. The PASID field came with revision 3 of the node. */
function readRootComplex(
  r: AcpiReader,
  at: number,
  end: number,
  nodes: ReadonlyMap<number, number>,
): IortRootComplex {
  const attributes = r.u32(at + 24);
  const pasidBits = r.u8(at + 3) >= 3 && end - at >= 36 ? r.u16(at + 33) & 0x1f : 0;
  const mappings: IortRootComplex["mappings"][number][] = [];
  for (const m of readMappings(r, at, end, nodes)) {
    if (m.inputBase > 0xffff) {
      r.warn(
        at,
        `ID mapping from 0x${m.inputBase.toString(16)} is outside 16 bits and was skipped`,
      );
      continue;
    }
    mappings.push({
      firstRid: m.single ? 0 : m.inputBase,
      lastRid: m.single ? 0xffff : Math.min(0xffff, m.inputBase + m.count - 1),
      to: m.to,
      single: m.single,
      outputBase: m.outputBase,
      target: m.target,
    });
  }
  return {
    segment: r.u32(at + 28),
    ats: (attributes & 1) !== 0,
    pri: (attributes & 2) !== 0,
    pasidBits,
    mappings,
  };
}

/** § 3.1.1.5 */
function readReserved(
  r: AcpiReader,
  at: number,
  end: number,
  nodes: ReadonlyMap<number, number>,
): IortReserved {
  const count = r.u32(at + 20);
  const from = at + r.u32(at + 24);
  if (count > 0 && from + count * RANGE_SIZE > end)
    throw r.error(at + 20, `${count} memory ranges do not fit into the node`);
  const spans: IortReserved["spans"][number][] = [];
  for (let i = 0; i < count; i++) {
    const range = from + i * RANGE_SIZE;
    const first = r.u64(range);
    const length = r.u64(range + 8);
    if (length === 0n) throw r.error(range + 8, "a memory range of length 0");
    spans.push({ first, last: first + length - 1n });
  }
  const streams: IortReserved["streams"][number][] = [];
  for (const m of readMappings(r, at, end, nodes)) {
    const last = m.single ? m.outputBase : m.outputBase + m.count - 1;
    streams.push({ first: m.outputBase, last, smmu: m.target });
  }
  return { spans, streams };
}
