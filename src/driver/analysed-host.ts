/** A DriverHost whose facts about devices come from an analysis of the fabric. */

import type { Iommu } from "../iommu/index.js";
import type { Analysis, DeviceReport, ReservedKind } from "../isolation/index.js";
import type { AllocationPort, PhysicalMemory } from "../memory/index.js";
import type { AccessLength } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";
import type { DriverHost, PathVerdict } from "./driver-host.js";
import type { ReservedSpan } from "./driver-port.js";

export interface AnalysedParts {
  /** Of the fabric as it is now; asked for anew each time. */
  readonly analysis: () => Analysis;
  readonly memory: PhysicalMemory;
  readonly allocations?: AllocationPort | undefined;
  readonly units: readonly Iommu[];
  unitOf(device: Bdf): Iommu | undefined;
  configRead(device: Bdf, offset: number, length: AccessLength): number;
  configWrite(device: Bdf, offset: number, length: AccessLength, value: number): void;
}

const NO_VERDICT: PathVerdict = { ok: false, because: [] };

/** What is not known counts as not allowed. */
export function analysedHost(parts: AnalysedParts): DriverHost {
  return {
    memory: parts.memory,
    allocations: parts.allocations,
    units: parts.units,
    unitOf: (device) => parts.unitOf(device),
    configRead: (device, offset, length) => parts.configRead(device, offset, length),
    configWrite: (device, offset, length, value) =>
      parts.configWrite(device, offset, length, value),
    functionOf: (device) => parts.analysis().fabric.function(device),
    requesterIdsOf: (device) =>
      (parts.analysis().requesterIds(device)?.ids ?? []).map((id) => id.rid),
    reservedOf: (device) => reservedSpans(parts.analysis().deviceReport(device)),
    pasidPath: (device) => pasidVerdict(parts.analysis().deviceReport(device)),
    atsPath: (device) => {
      const ats = parts.analysis().deviceReport(device)?.ats;
      return ats === undefined ? NO_VERDICT : { ok: ats.ok === true, because: ats.because };
    },
  };
}

function pasidVerdict(report: DeviceReport | undefined): PathVerdict {
  if (report === undefined) return NO_VERDICT;
  const { ok, because } = report.pasid;
  // What the unit can do the driver reads from its registers.
  // That a VF goes by its PF is no condition.
  const others = because.filter(
    ({ kind }) => !kind.startsWith("iommu-") && kind !== "follows-physical-function",
  );
  const onlyAcs =
    ok === false && others.length > 0 && others.every((e) => e.kind === "path-acs-off");
  return { ok: ok === true, onlyAcs, because };
}

function reservedSpans(report: DeviceReport | undefined): ReservedSpan[] {
  return (report?.reserved.regions ?? []).map(({ span, kind, relaxable }) => ({
    span,
    kind: spanKind(kind, relaxable),
  }));
}

function spanKind(kind: ReservedKind, relaxable: boolean): ReservedSpan["kind"] {
  if (kind === "exclusion") return "reserved";
  return relaxable ? "direct-relaxable" : "direct";
}
