/** The hardware of a unit, as its platform describes it. */
import { SingleTableUnit, VtdUnit } from "../iommu/index.js";
import { unitOptions } from "../platform/index.js";
import type { UnitMaker } from "./machine-unit.js";

/** VT-d units, or units without requester matching. @throws RangeError when options do not fit. */
export const makeUnit: UnitMaker = (plan, memory, ports) =>
  plan.requesterMatching
    ? new VtdUnit(memory, ports, { name: plan.name, ...unitOptions(plan) })
    : new SingleTableUnit(memory, { name: plan.name });
