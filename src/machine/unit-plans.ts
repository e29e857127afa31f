/** The IOMMU units of a platform, in the order of the DMAR table, so that scopes find them. */
import type { BuiltPlatform } from "../platform/index.js";
import { InputError } from "../units/index.js";
import type { UnitPlan } from "./machine-unit.js";

/** @throws InputError for an IOMMU that there is no hardware for. */
export function planUnits(platform: BuiltPlatform): readonly UnitPlan[] {
  const { facts, iommu } = platform;
  const kind = iommu?.kind ?? kindOf(platform);
  if (kind === "none") return [];
  if (kind !== "intel") {
    const place = { file: "platform", field: "iommu.kind" };
    throw new InputError(`there is no hardware of kind ${kind} here`, place, "intel, or none");
  }
  return (facts.dmar?.units ?? []).map((unit, i) => ({
    name: `dmar${i}`,
    segment: unit.segment,
    registerBase: unit.registerBase,
    node: platform.units[i],
    requesterMatching: facts.requesterMatching !== false,
    interruptRemapping: facts.dmar?.interruptRemapping !== false,
    captured: { cap: unit.cap, ecap: unit.ecap },
  }));
}

function kindOf({ facts }: BuiltPlatform): "intel" | "amd" | "smmuv3" | "virtio" | "none" {
  if (facts.dmar !== undefined) return "intel";
  if (facts.ivrs !== undefined) return "amd";
  if (facts.iort !== undefined) return "smmuv3";
  return facts.viot !== undefined ? "virtio" : "none";
}
