/**
 * A small decoder of DMAR, IVRS and VIOT for tests: only what scopes need, shared with nothing in
 * the product.
 */
import type { DeviceScope, DmarUnit, HostFacts, IvrsUnit } from "../../src/isolation/index.js";
import { bdfFromRid } from "../../src/units/index.js";

export function decodeDmar(t: Buffer): NonNullable<HostFacts["dmar"]> {
  const units: DmarUnit[] = [];
  for (let at = 48; at < t.length; at += t.readUInt16LE(at + 2)) {
    if (t.readUInt16LE(at) !== 0) continue;
    units.push({
      segment: t.readUInt16LE(at + 6),
      includeAll: (t.readUInt8(at + 4) & 1) !== 0,
      registerBase: t.readBigUInt64LE(at + 8),
      scopes: dmarScopes(t, at + 16, at + t.readUInt16LE(at + 2)),
    });
  }
  const flags = t.readUInt8(37);
  return {
    addressWidth: t.readUInt8(36) + 1,
    interruptRemapping: (flags & 1) !== 0,
    platformOptIn: (flags & 4) !== 0,
    units,
    reserved: [],
    ats: [],
  };
}

function dmarScopes(t: Buffer, from: number, end: number): DeviceScope[] {
  const kinds = ["endpoint", "sub-hierarchy", "ioapic", "hpet", "namespace"] as const;
  const out: DeviceScope[] = [];
  for (let at = from; at < end; at += t.readUInt8(at + 1)) {
    const path: { device: number; fn: number }[] = [];
    for (let p = at + 6; p < at + t.readUInt8(at + 1); p += 2) {
      path.push({ device: t.readUInt8(p), fn: t.readUInt8(p + 1) });
    }
    const kind = kinds[t.readUInt8(at) - 1];
    if (kind !== undefined) out.push({ kind, bus: t.readUInt8(at + 5), path });
  }
  return out;
}

export function decodeIvrs(t: Buffer): NonNullable<HostFacts["ivrs"]> {
  const units: IvrsUnit[] = [];
  for (let at = 48; at < t.length; at += t.readUInt16LE(at + 2)) {
    const type = t.readUInt8(at);
    if (type !== 0x10 && type !== 0x11 && type !== 0x40) continue;
    const segment = t.readUInt16LE(at + 16);
    const entries = ivhdEntries(t, at + (type === 0x10 ? 24 : 40), at + t.readUInt16LE(at + 2));
    units.push({
      segment,
      iommu: bdfFromRid(segment, t.readUInt16LE(at + 4)),
      base: t.readBigUInt64LE(at + 8),
      ...entries,
    });
  }
  return { units, memory: [] };
}

function ivhdEntries(t: Buffer, from: number, end: number) {
  const covered: { first: number; last: number }[] = [];
  const aliases: { first: number; last: number; alias: number }[] = [];
  let start = 0;
  let alias: number | undefined;
  for (let at = from; at < end; ) {
    const type = t.readUInt8(at);
    const id = t.readUInt16LE(at + 1);
    if (type === 1) covered.push({ first: 0, last: 0xffff });
    else if (type === 2 || type === 0x46) covered.push({ first: id, last: id });
    else if (type === 3 || type === 0x47) {
      start = id;
      alias = undefined;
    } else if (type === 0x42) {
      covered.push({ first: id, last: id });
      aliases.push({ first: id, last: id, alias: t.readUInt16LE(at + 5) });
    } else if (type === 0x43) {
      start = id;
      alias = t.readUInt16LE(at + 5);
    } else if (type === 4) {
      covered.push({ first: start, last: id });
      if (alias !== undefined) aliases.push({ first: start, last: id, alias });
    }
    at += type < 0x40 ? 4 : 8;
  }
  return { covered, aliases };
}

export function decodeViot(t: Buffer): NonNullable<HostFacts["viot"]> {
  const ranges: NonNullable<HostFacts["viot"]>["ranges"][number][] = [];
  const iommus: ReturnType<typeof bdfFromRid>[] = [];
  for (let at = t.readUInt16LE(38), n = t.readUInt16LE(36); n > 0; n--) {
    const type = t.readUInt8(at);
    if (type === 1) {
      ranges.push({
        firstSegment: t.readUInt16LE(at + 8),
        lastSegment: t.readUInt16LE(at + 10),
        firstBdf: t.readUInt16LE(at + 12),
        lastBdf: t.readUInt16LE(at + 14),
      });
    } else if (type === 3) {
      iommus.push(bdfFromRid(t.readUInt16LE(at + 4), t.readUInt16LE(at + 6)));
    }
    at += t.readUInt16LE(at + 2);
  }
  return { ranges, iommus };
}
