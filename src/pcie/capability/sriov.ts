/** Single Root I/O Virtualization: PCIe 6 § 9.3.3. */
import { makeRid, type Rid } from "../../units/index.js";
import { type Bar, type BarHint, readBarBlock } from "../bar.js";
import type { ConfigSpace } from "../config-space.js";

export interface SrIovFacts {
  readonly offset: number;
  readonly enabled: boolean | undefined;
  readonly initialVfs: number | undefined;
  readonly totalVfs: number | undefined;
  readonly numVfs: number | undefined;
  readonly firstVfOffset: number | undefined;
  readonly vfStride: number | undefined;
  readonly vfDeviceId: number | undefined;
}

/** Facts of a PF's SR-IOV capability at `offset`. */
export function readSrIov(config: ConfigSpace, offset: number): SrIovFacts {
  const control = config.knownU16(offset + 0x08);
  return {
    offset,
    enabled: control === undefined ? undefined : (control & 1) !== 0,
    initialVfs: config.knownU16(offset + 0x0c),
    totalVfs: config.knownU16(offset + 0x0e),
    numVfs: config.knownU16(offset + 0x10),
    firstVfOffset: config.knownU16(offset + 0x14),
    vfStride: config.knownU16(offset + 0x16),
    vfDeviceId: config.knownU16(offset + 0x1a),
  };
}

/** Requester IDs of the VFs that are switched on, in VF order; § 9.2.1.2. */
export function vfRids(pf: Rid, sriov: SrIovFacts): Rid[] {
  const { enabled, numVfs, firstVfOffset, vfStride } = sriov;
  if (enabled !== true || !numVfs || firstVfOffset === undefined || vfStride === undefined)
    return [];
  const out: Rid[] = [];
  for (let i = 0; i < numVfs; i++) {
    const rid = (pf + firstVfOffset + i * vfStride) & 0xffff;
    out.push(makeRid(rid));
  }
  return out;
}

/**
 * VF BARs: `base` is VF 0's, `size` (from hints) that of one VF; VF n is at base + n * size.
 * § 9.3.3.14.
 */
export function readVfBars(
  config: ConfigSpace,
  offset: number,
  hints: readonly BarHint[] = [],
): readonly Bar[] {
  return readBarBlock(config, offset + 0x24, 6, hints);
}
