/**
 * Virtual functions that are not switched on in the description: what they are when software
 * switches them on. A platform file says it (`sriov.each`); for a captured host they are like those
 * that the capture shows, or else plain endpoints with the ids that the PF's registers name.
 */
import {
  type Bar,
  type BarHint,
  describeFunction,
  type FunctionDescription,
  type FunctionSpec,
  PciFunction,
  PortType,
} from "../pcie/index.js";
import { type Bdf, bdfFromRid, ridOf, segmentOf } from "../units/index.js";
import type { PlannedSrIov } from "./plan.js";

/** A virtual function to be. */
export interface VirtualFunction {
  readonly description: FunctionDescription;
  /** It has a DMA test engine. */
  readonly engine: boolean;
}

/** Makes VF number `index` (from 0) of a PF; undefined when it cannot have one. */
export type VirtualFunctionMaker = (pf: Bdf, index: number) => VirtualFunction | undefined;

/** Address of VF `index`; undefined when it runs past the last bus. */
function addressOf(
  pf: Bdf,
  index: number,
  sriov: { readonly offset: number; readonly stride: number },
): Bdf | undefined {
  const rid = ridOf(pf) + sriov.offset + index * sriov.stride;
  return rid > 0xffff ? undefined : bdfFromRid(segmentOf(pf), rid);
}

/** A VF of a laid out PF. @param bars VF 0's, with addresses. */
export function virtualSpec(
  pf: FunctionSpec,
  sriov: PlannedSrIov,
  index: number,
  bars: NonNullable<FunctionSpec["bars"]>,
): FunctionSpec | undefined {
  const bdf = addressOf(pf.bdf, index, sriov);
  if (bdf === undefined) return undefined;
  return {
    type: pf.type,
    ...sriov.vf,
    bdf,
    vendor: pf.vendor,
    device: sriov.vfDevice ?? pf.device,
    physfn: pf.bdf,
    bars: bars.map((bar) => ({
      ...bar,
      base: bar.base === undefined ? undefined : bar.base + BigInt(index) * bar.size,
    })),
  };
}

/** For functions of a capture. */
export function capturedVirtual(functions: readonly FunctionDescription[]): VirtualFunctionMaker {
  const like = new Map<Bdf, FunctionDescription>();
  const byAddress = new Map(functions.map((fn) => [fn.bdf, fn]));
  for (const fn of functions) {
    if (fn.physfn !== undefined && !like.has(fn.physfn)) like.set(fn.physfn, fn);
  }
  return (pf, index) => {
    const found = byAddress.get(pf);
    const physical = found === undefined ? undefined : new PciFunction(found);
    const sriov = physical?.sriov;
    if (physical === undefined || !sriov) return undefined;
    const { firstVfOffset: offset, vfStride: stride, vfDeviceId } = sriov;
    if (offset === undefined || stride === undefined) return undefined;
    const bdf = addressOf(pf, index, { offset, stride });
    if (bdf === undefined) return undefined;
    const bars = (physical.vfBars ?? []).map((bar) => hintFor(bar, index));
    const known = like.get(pf);
    if (known !== undefined) {
      const { slot: _, label: __, ...same } = known;
      return { description: { ...same, bdf, bars, driver: null }, engine: false };
    }
    const { vendor, classCode } = physical.ids;
    const spec: FunctionSpec = {
      bdf,
      vendor,
      device: vfDeviceId,
      classCode,
      type: PortType.Endpoint,
      flr: true,
      physfn: pf,
    };
    const parent = { parent: found?.parent };
    return { description: { ...describeFunction(spec), ...parent, bars }, engine: false };
  };
}

function hintFor(bar: Bar, index: number): BarHint {
  const { base, size, kind, prefetchable } = bar;
  const placed = base === undefined || size === undefined ? undefined : base + BigInt(index) * size;
  return {
    index: bar.index,
    size,
    base: placed,
    kind,
    prefetchable,
    unassigned: placed === undefined,
  };
}
