/**
 * The hardware of a unit: what the platform file says of it, else what a capture shows of its
 * registers, else a recent server's.
 */
import { SingleTableUnit, VtdUnit, type VtdUnitOptions } from "../iommu/index.js";
import type { IommuNode, UnitNode } from "../platform/index.js";
import type { UnitMaker, UnitPlan } from "./machine-unit.js";

/** VT-d units, or units without requester matching. @throws RangeError when options do not fit. */
export const makeUnit: UnitMaker = (plan, memory, ports) =>
  plan.requesterMatching
    ? new VtdUnit(memory, ports, { name: plan.name, ...optionsOf(plan) })
    : new SingleTableUnit(memory, { name: plan.name });

function optionsOf(plan: UnitPlan): VtdUnitOptions {
  const { interruptRemapping } = plan;
  const { cap, ecap } = plan.captured;
  const base = cap === undefined || ecap === undefined ? {} : fromRegisters(cap, ecap);
  return { ...base, ...fromNode(plan.node), ...(interruptRemapping ? {} : { interruptRemapping }) };
}

function fromNode(node: IommuNode | UnitNode | undefined): VtdUnitOptions {
  if (node === undefined) return widthOptions(48);
  const { scalable, pasid, nested, pageRequests, deviceTlb, snoopControl, pages1G } = node;
  const said = { scalable, pasid, nested, pageRequests, deviceTlb, snoopControl, pages1G };
  const known = Object.fromEntries(Object.entries(said).filter(([, v]) => v !== undefined));
  return { ...known, ...widthOptions(node.addressWidth ?? 48) };
}

function widthOptions(width: number): VtdUnitOptions {
  if (width === 39) return { inputAddressWidth: 39, stage2Levels: [3] };
  if (width === 57) return { inputAddressWidth: 57, stage2Levels: [4, 5] };
  return { inputAddressWidth: 48, stage2Levels: [4] };
}

/** VT-d 5.0 § 11.4.2 (capability), § 11.4.3 (extended capability). */
function fromRegisters(cap: bigint, ecap: bigint): VtdUnitOptions {
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
