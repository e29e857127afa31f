/**
 * What the eligibility questions need beyond the fabric. `analyse` fills it from the quirk data,
 * the isolation test of the rule set and the firmware tables; tests answer by hand.
 */
import type { PciFunction } from "../pcie/index.js";
import type { Conditions } from "./conditions.js";
import type { Evidence } from "./evidence.js";
import type { HostFacts } from "./host-facts.js";
import type { IommuFeature, IommuFeatures } from "./iommu-features.js";
import type { UseRules } from "./rules/device-centric.js";

/** The answer of the per-function isolation test that groups use too, for some ACS bits. */
export interface IsolationVerdict {
  /** Undefined: the capture does not show enough. */
  readonly isolated: boolean | undefined;
  readonly because: readonly Evidence[];
}

export interface EligibilityContext {
  readonly rules: UseRules;
  readonly facts: HostFacts;
  readonly iommu: IommuFeatures;
  /** `request`: an ACS word. */
  isolatedAgainst(fn: PciFunction, request: number): IsolationVerdict;
  /** The quirk row that takes ATS away. */
  atsOff(fn: PciFunction): Evidence | undefined;
  /** The quirk row that lets PASIDs go without TLP prefixes. */
  pasidWithoutPrefix(fn: PciFunction): Evidence | undefined;
  untrusted(fn: PciFunction): boolean | undefined;
  /** The function whose requests reach the IOMMU in its place (VMD), or itself. */
  sender(fn: PciFunction): PciFunction;
  /** Why it has no group, when it has none: no IOMMU in use, outside every unit's scope. */
  ungrouped(fn: PciFunction): readonly Evidence[] | undefined;
}

/** Bridges above, nearest first. A VMD domain has a root bus of its own, so the walk ends there. */
export function bridgesAbove(fn: PciFunction): PciFunction[] {
  const out: PciFunction[] = [];
  for (let at = fn.upstreamBridge; at !== undefined; at = at.upstreamBridge) out.push(at);
  return out;
}

/** Files what the IOMMU in front can do. Unknown ones are notes unless `required`. */
export function addIommuFeature(
  out: Conditions,
  fn: PciFunction,
  feature: IommuFeature,
  context: EligibilityContext,
  required: boolean,
): void {
  const answer = context.iommu.feature(context.sender(fn), feature);
  const { detail, cite } = answer;
  const evidence = { at: fn.bdf, capability: feature, detail, cite };
  if (answer.has === undefined) {
    const unknown: Evidence = { kind: "iommu-capability-unknown", ...evidence };
    if (required) out.unknown.push(unknown);
    else out.notes.push(unknown);
    return;
  }
  out.add(answer.has, {
    kind: answer.has ? "iommu-capability-present" : "iommu-capability-missing",
    ...evidence,
  });
  if (answer.differs !== undefined) {
    out.notes.push({ kind: "iommu-units-differ", ...evidence, detail: answer.differs });
  }
}

/** An IOMMU must be there and cover the function, and tell requesters apart. */
export function addCoverage(out: Conditions, fn: PciFunction, context: EligibilityContext): void {
  for (const because of context.ungrouped(fn) ?? []) out.failed.push(because);
  if (context.facts.requesterMatching === false) {
    out.failed.push({
      kind: "iommu-unmatched",
      at: fn.bdf,
      cite: "device-centric rules: an IOMMU without requester matching",
    });
  }
}

/** A function's own capability: present, known absent, not known. */
export function addCapability(
  out: Conditions,
  fn: PciFunction,
  capability: "PASID" | "ATS" | "PRI",
  facts: object | null | undefined,
  cite: string,
): void {
  const known = fn.isPcie === false ? null : facts;
  const holds = known === undefined ? undefined : known !== null;
  const kind =
    holds === undefined
      ? "capability-unknown"
      : holds
        ? "capability-present"
        : "capability-missing";
  out.add(holds, { kind, at: fn.bdf, capability, cite });
}

/** A bus of conventional PCI on the way carries neither prefixes nor address types. */
export function addConventionalPath(
  out: Conditions,
  fn: PciFunction,
  bridges: readonly PciFunction[],
  capability: string,
): void {
  if (fn.isPcie === false) {
    out.failed.push({ kind: "not-pci-express", at: fn.bdf, capability, cite: CITE_CONVENTIONAL });
  }
  for (const bridge of bridges) {
    if (!carriesConventional(bridge)) continue;
    out.failed.push({
      kind: "conventional-bridge-on-path",
      at: bridge.bdf,
      capability,
      cite: CITE_CONVENTIONAL,
    });
  }
}

const CITE_CONVENTIONAL = "PCIe to PCI/PCI-X Bridge 1.0 § 2.4";

/** A bridge with conventional PCI on one of its sides. */
function carriesConventional(bridge: PciFunction): boolean {
  return bridge.isPcie === false || bridge.portType === 7 || bridge.portType === 8;
}
