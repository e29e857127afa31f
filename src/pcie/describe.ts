/**
 * Builds the configuration space of a function from named facts: for platform files, generators and
 * tests.
 */
import type { Bdf, Span } from "../units/index.js";
import type { BarHint, BarKind } from "./bar.js";
import { PortType } from "./capability/express.js";
import { CapabilityId, ExtendedCapabilityId } from "./capability/list.js";
import { ConfigSpaceBuilder } from "./config-space.js";
import type { FunctionDescription } from "./function.js";

export interface BarSpec {
  readonly index: number;
  readonly kind?: BarKind | undefined;
  readonly prefetchable?: boolean | undefined;
  /** Undefined: not assigned. */
  readonly base?: bigint | undefined;
  readonly size: bigint;
}

export interface FunctionSpec {
  readonly bdf: Bdf;
  readonly vendor?: number | undefined;
  readonly device?: number | undefined;
  readonly subVendor?: number | undefined;
  readonly subDevice?: number | undefined;
  readonly revision?: number | undefined;
  /** 24 bits; the default fits the type. */
  readonly classCode?: number | undefined;
  /** PCI Express port type; absent for a conventional function. */
  readonly type?: PortType | undefined;
  /** A type 1 header. Default: true for root, switch and bridge port types. */
  readonly bridge?: boolean | undefined;
  readonly multifunction?: boolean | undefined;
  /** Primary, secondary, subordinate bus of a bridge. */
  readonly buses?: readonly [number, number, number] | undefined;
  /** Bridge windows; "closed" (the default) has its base above its limit. */
  readonly memoryWindow?: Span | undefined;
  readonly prefetchableWindow?: Span | undefined;
  readonly ioWindow?: Span | undefined;
  readonly bars?: readonly BarSpec[] | undefined;
  readonly acs?:
    | {
        readonly capability: number;
        readonly control: number;
        readonly egressVector?: readonly number[] | undefined;
      }
    | undefined;
  readonly ats?: { readonly enabled?: boolean | undefined } | undefined;
  readonly pri?: { readonly enabled?: boolean | undefined } | undefined;
  readonly pasid?:
    | {
        readonly width: number;
        readonly execute?: boolean | undefined;
        readonly privileged?: boolean | undefined;
        readonly enabled?: boolean | undefined;
      }
    | undefined;
  readonly sriov?:
    | {
        readonly total: number;
        readonly enabled: number;
        readonly offset: number;
        readonly stride: number;
        readonly vfDevice?: number | undefined;
        /** VF BARs; the size is that of one VF. */
        readonly vfBars?: readonly BarSpec[] | undefined;
      }
    | undefined;
  readonly endEndPrefix?: boolean | undefined;
  readonly endEndPrefixBlocking?: boolean | undefined;
  /** Port number in the link capabilities; egress control vectors name ports by it. Default 0. */
  readonly portNumber?: number | undefined;
  readonly phantomBits?: number | undefined;
  readonly ari?: boolean | undefined;
  readonly ariForwarding?: boolean | undefined;
  readonly flr?: boolean | undefined;
  readonly hotPlug?: boolean | undefined;
  readonly msixVectors?: number | undefined;
  /** 1 to 32, rounded up to a power of two. */
  readonly msiVectors?: number | undefined;
  /** Interrupt pin: 1 to 4 for A to D. */
  readonly pin?: number | undefined;
  readonly physfn?: Bdf | undefined;
  readonly driver?: string | null | undefined;
  readonly externalFacing?: boolean | undefined;
  readonly untrusted?: boolean | undefined;
  readonly slot?: string | undefined;
  readonly label?: string | undefined;
  readonly name?: string | undefined;
}

const EXPRESS_AT = 0x40;
const MSIX_AT = 0x90;
const MSI_AT = 0xa0;

/** @throws RangeError when a BAR does not exist in the header. */
export function describeFunction(spec: FunctionSpec): FunctionDescription {
  const out = new ConfigSpaceBuilder();
  const bridge = spec.bridge ?? isBridgeType(spec.type);
  writeHeader(out, spec, bridge);
  if (bridge) writeBridge(out, spec);
  // A VF's own BAR registers read zero; its addresses come from the PF (PCIe 6 § 9.3.4.1.11).
  if (spec.physfn === undefined) writeBars(out, 0x10, spec.bars ?? [], bridge ? 2 : 6);
  if (spec.type !== undefined) {
    writeExpress(out, spec, spec.type);
    writeExtended(out, spec);
  }
  return {
    bdf: spec.bdf,
    config: out.buildComplete(4096),
    bars: spec.bars?.map(hint),
    vfBars: spec.sriov?.vfBars?.map(hint),
    physfn: spec.physfn,
    driver: spec.driver,
    externalFacing: spec.externalFacing,
    untrusted: spec.untrusted,
    slot: spec.slot,
    label: spec.label,
    name: spec.name,
    ...(spec.physfn === undefined ? {} : { ids: { vendor: spec.vendor, device: spec.device } }),
  };
}

function isBridgeType(type: PortType | undefined): boolean {
  return type !== undefined && type >= PortType.RootPort && type <= PortType.PciToPcieBridge;
}

function writeHeader(out: ConfigSpaceBuilder, spec: FunctionSpec, bridge: boolean): void {
  for (let at = 0; at < 0x40; at += 4) out.set32(at, 0);
  const virtual = spec.physfn !== undefined;
  out.set16(0x00, virtual ? 0xffff : (spec.vendor ?? 0x1b36));
  out.set16(0x02, virtual ? 0xffff : (spec.device ?? 0x0001));
  out.set16(0x04, virtual ? 0x0004 : 0x0007);
  out.set16(0x06, spec.type === undefined ? 0 : 0x0010);
  out.set8(0x08, spec.revision ?? 0);
  const classCode = spec.classCode ?? (bridge ? 0x060400 : 0x020000);
  out.set8(0x09, classCode & 0xff).set16(0x0a, classCode >>> 8);
  out.set8(0x0e, (bridge ? 1 : 0) | (spec.multifunction === true ? 0x80 : 0));
  if (!bridge) out.set16(0x2c, spec.subVendor ?? 0).set16(0x2e, spec.subDevice ?? 0);
  if (spec.type !== undefined) out.set8(0x34, EXPRESS_AT);
  if (!virtual && spec.pin !== undefined) out.set8(0x3d, spec.pin);
}

function writeBridge(out: ConfigSpaceBuilder, spec: FunctionSpec): void {
  const [primary, secondary, subordinate] = spec.buses ?? [0, 0, 0];
  out.set8(0x18, primary).set8(0x19, secondary).set8(0x1a, subordinate);
  const io = spec.ioWindow;
  out.set8(0x1c, io === undefined ? 0xf1 : Number((io.first >> 8n) & 0xf0n) | 1);
  out.set8(0x1d, io === undefined ? 0x01 : Number((io.last >> 8n) & 0xf0n) | 1);
  out.set16(0x30, io === undefined ? 0 : Number(io.first >> 16n));
  out.set16(0x32, io === undefined ? 0 : Number(io.last >> 16n));
  const memory = spec.memoryWindow;
  out.set16(0x20, memory === undefined ? 0xfff0 : Number((memory.first >> 16n) & 0xfff0n));
  out.set16(0x22, memory === undefined ? 0 : Number((memory.last >> 16n) & 0xfff0n));
  const pref = spec.prefetchableWindow;
  out.set16(0x24, pref === undefined ? 0xfff1 : Number((pref.first >> 16n) & 0xfff0n) | 1);
  out.set16(0x26, pref === undefined ? 0x0001 : Number((pref.last >> 16n) & 0xfff0n) | 1);
  out.set32(0x28, pref === undefined ? 0 : Number(pref.first >> 32n));
  out.set32(0x2c, pref === undefined ? 0 : Number(pref.last >> 32n));
}

function writeBars(
  out: ConfigSpaceBuilder,
  first: number,
  bars: readonly BarSpec[],
  count: number,
): void {
  for (const bar of bars) {
    if (bar.index >= count) throw new RangeError(`BAR ${bar.index} does not exist in this header`);
    const kind = bar.kind ?? "memory32";
    const flags =
      kind === "io" ? 1 : (kind === "memory64" ? 4 : 0) | (bar.prefetchable === true ? 8 : 0);
    const base = bar.base ?? 0n;
    out.set32(first + 4 * bar.index, Number(base & 0xffffffffn) | flags);
    if (kind === "memory64") out.set32(first + 4 * bar.index + 4, Number(base >> 32n));
  }
}

function writeExpress(out: ConfigSpaceBuilder, spec: FunctionSpec, type: PortType): void {
  const at = EXPRESS_AT;
  for (let i = 0; i < 0x3c; i += 4) out.set32(at + i, 0);
  const msix = spec.msixVectors;
  const msi = spec.msiVectors;
  const last = msi === undefined ? 0 : MSI_AT;
  out.set8(at, CapabilityId.PciExpress).set8(at + 1, msix === undefined ? last : MSIX_AT);
  const slot = spec.hotPlug === true;
  out.set16(at + 2, 2 | (type << 4) | (slot ? 0x100 : 0));
  out.set32(at + 4, ((spec.phantomBits ?? 0) << 3) | (spec.flr === true ? 1 << 28 : 0) | (1 << 15));
  out.set8(at + 0x0f, spec.portNumber ?? 0);
  if (slot) out.set32(at + 0x14, 1 << 6);
  const prefix = spec.endEndPrefix === true ? (1 << 21) | (1 << 22) : 0;
  out.set32(at + 0x24, prefix | (spec.ariForwarding === undefined ? 0 : 1 << 5));
  const blocking = spec.endEndPrefixBlocking === true ? 1 << 15 : 0;
  out.set16(at + 0x28, blocking | (spec.ariForwarding === true ? 1 << 5 : 0));
  if (msix !== undefined) {
    out
      .set8(MSIX_AT, CapabilityId.MsiX)
      .set8(MSIX_AT + 1, last)
      .set16(MSIX_AT + 2, msix - 1);
    out.set32(MSIX_AT + 4, 0).set32(MSIX_AT + 8, 0x800);
  }
  if (msi !== undefined) writeMsi(out, msi);
}

/** 64-bit addresses, no masks (§ 7.7.1). */
function writeMsi(out: ConfigSpaceBuilder, vectors: number): void {
  const log2 = Math.min(Math.ceil(Math.log2(vectors)), 5);
  out
    .set8(MSI_AT, CapabilityId.Msi)
    .set8(MSI_AT + 1, 0)
    .set16(MSI_AT + 2, 0x80 | (log2 << 1));
  out
    .set32(MSI_AT + 4, 0)
    .set32(MSI_AT + 8, 0)
    .set16(MSI_AT + 12, 0);
}

type Writer = (at: number) => void;

function writeExtended(out: ConfigSpaceBuilder, spec: FunctionSpec): void {
  const list: { id: number; size: number; write: Writer }[] = [];
  const { acs, ats, pri, pasid, sriov } = spec;
  if (acs !== undefined) {
    const vector = acs.egressVector ?? [];
    list.push({
      id: ExtendedCapabilityId.Acs,
      size: 8 + 4 * Math.max(1, vector.length),
      write: (at) => {
        out
          .set16(at + 4, acs.capability)
          .set16(at + 6, acs.control)
          .set32(at + 8, 0);
        for (const [i, word] of vector.entries()) out.set32(at + 8 + 4 * i, word);
      },
    });
  }
  if (spec.ari === true) {
    list.push({ id: ExtendedCapabilityId.Ari, size: 8, write: (at) => out.set32(at + 4, 0) });
  }
  if (ats !== undefined) {
    list.push({
      id: ExtendedCapabilityId.Ats,
      size: 8,
      write: (at) => out.set16(at + 4, 0x20).set16(at + 6, ats.enabled === true ? 0x8000 : 0),
    });
  }
  if (sriov !== undefined)
    list.push({
      id: ExtendedCapabilityId.SrIov,
      size: 0x40,
      write: (at) => writeSrIov(out, at, sriov),
    });
  if (pri !== undefined) {
    list.push({
      id: ExtendedCapabilityId.Pri,
      size: 16,
      write: (at) =>
        out
          .set16(at + 4, pri.enabled === true ? 1 : 0)
          .set16(at + 6, 0x100)
          .set32(at + 8, 512)
          .set32(at + 12, 0),
    });
  }
  if (pasid !== undefined) {
    list.push({
      id: ExtendedCapabilityId.Pasid,
      size: 8,
      write: (at) => {
        const bits = (pasid.execute === true ? 2 : 0) | (pasid.privileged === true ? 4 : 0);
        out.set16(at + 4, bits | (pasid.width << 8)).set16(at + 6, pasid.enabled === true ? 1 : 0);
      },
    });
  }
  let at = 0x100;
  list.forEach((entry, i) => {
    const next = i + 1 < list.length ? at + entry.size : 0;
    out.set32(at, (entry.id | (1 << 16) | (next << 20)) >>> 0);
    entry.write(at);
    at += entry.size;
  });
}

function writeSrIov(
  out: ConfigSpaceBuilder,
  at: number,
  sriov: NonNullable<FunctionSpec["sriov"]>,
): void {
  for (let i = 4; i < 0x40; i += 4) out.set32(at + i, 0);
  out.set16(at + 8, sriov.enabled > 0 ? 0x9 : 0);
  out
    .set16(at + 0xc, sriov.total)
    .set16(at + 0xe, sriov.total)
    .set16(at + 0x10, sriov.enabled);
  out.set16(at + 0x14, sriov.offset).set16(at + 0x16, sriov.stride);
  out.set16(at + 0x1a, sriov.vfDevice ?? 1);
  // Supported and system page size: 4 KiB (§ 9.3.3.12, § 9.3.3.13).
  out.set32(at + 0x1c, 0x553).set32(at + 0x20, 1);
  writeBars(out, at + 0x24, sriov.vfBars ?? [], 6);
}

function hint(bar: BarSpec): BarHint {
  return {
    index: bar.index,
    size: bar.size,
    base: bar.base,
    kind: bar.kind,
    prefetchable: bar.prefetchable,
    unassigned: bar.base === undefined,
  };
}
