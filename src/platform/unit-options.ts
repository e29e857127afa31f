/**
 * The hardware of an Intel unit: what the platform file says of it, else what a capture shows of
 * its
 * registers, else a recent server's. So the facts of a file written by hand name the registers of
 * the hardware that a machine made from it has.
 */
import { type VtdOptions, vtdRegisterValues } from "../iommu/index.js";
import type { DmarUnit } from "../isolation/index.js";
import type { IommuNode, UnitNode } from "./platform-shape.js";

/** What is known of a unit. */
export interface KnownUnit {
  /** Undefined: a captured unit of which nothing more is said. */
  readonly node: IommuNode | UnitNode | undefined;
  readonly interruptRemapping: boolean;
  /** Capability registers that a capture shows. */
  readonly captured: { readonly cap: bigint | undefined; readonly ecap: bigint | undefined };
}

/** Options of the hardware. */
export function unitOptions(plan: KnownUnit): VtdOptions {
  const { interruptRemapping } = plan;
  const { cap, ecap } = plan.captured;
  const base = cap === undefined || ecap === undefined ? {} : fromRegisters(cap, ecap);
  return { ...base, ...fromNode(plan.node), ...(interruptRemapping ? {} : { interruptRemapping }) };
}

function fromNode(node: IommuNode | UnitNode | undefined): VtdOptions {
  if (node === undefined) return widthOptions(48);
  const { scalable, pasid, nested, pageRequests, deviceTlb, snoopControl, pages1G } = node;
  const said = { scalable, pasid, nested, pageRequests, deviceTlb, snoopControl, pages1G };
  const known = Object.fromEntries(Object.entries(said).filter(([, v]) => v !== undefined));
  return { ...known, ...widthOptions(node.addressWidth ?? 48) };
}

function widthOptions(width: number): VtdOptions {
  if (width === 39) return { inputAddressWidth: 39, stage2Levels: [3] };
  if (width === 57) return { inputAddressWidth: 57, stage2Levels: [4, 5] };
  return { inputAddressWidth: 48, stage2Levels: [4] };
}

/** VT-d 5.0 § 11.4.2 (capability), § 11.4.3 (extended capability). */
function fromRegisters(cap: bigint, ecap: bigint): VtdOptions {
  const has = (register: bigint, bit: bigint): boolean => ((register >> bit) & 1n) !== 0n;
  const levels = ([3, 4, 5] as const).filter((_, i) => has(cap, BigInt(9 + i)));
  const pasid = has(ecap, 40n);
  return {
    inputAddressWidth: Number((cap >> 16n) & 0x3fn) + 1,
    ...(levels.length > 0 ? { stage2Levels: levels } : {}),
    pages2M: has(cap, 34n),
    pages1G: has(cap, 35n),
    deviceTlb: has(ecap, 2n),
    interruptRemapping: has(ecap, 3n),
    passThrough: has(ecap, 6n),
    snoopControl: has(ecap, 7n),
    nested: has(ecap, 26n),
    pageRequests: has(ecap, 29n),
    pasid,
    ...(pasid ? { pasidBits: Number((ecap >> 35n) & 0x1fn) + 1 } : {}),
    scalable: has(ecap, 43n),
    stage1: has(ecap, 47n),
  };
}

/**
 * The unit with its capability registers filled in.
 * @throws RangeError when options do not fit.
 */
export function withRegisters(unit: DmarUnit, known: Omit<KnownUnit, "captured">): DmarUnit {
  const captured = { cap: unit.cap, ecap: unit.ecap };
  if (captured.cap !== undefined && captured.ecap !== undefined) return unit;
  return { ...unit, ...vtdRegisterValues(unitOptions({ ...known, captured })) };
}
