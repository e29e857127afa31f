/** A running machine as the driver meets it. */
import { type Analysis, type AnalysisOptions, analyse } from "../isolation/index.js";
import type { Machine } from "../machine/index.js";
import type { AllocationPort } from "../memory/index.js";
import { analysedHost } from "./analysed-host.js";
import type { DriverHost } from "./driver-host.js";

/**
 * The analysis of a machine's fabric as it is now: made anew when the topology has changed.
 * @returns a function; its answer stays the same object until then.
 */
export function machineAnalysis(machine: Machine, options: AnalysisOptions = {}): () => Analysis {
  let kept: Analysis | undefined;
  let generation = -1;
  return () => {
    if (kept === undefined || generation !== machine.generation) {
      kept = analyse(machine.fabric, machine.facts, options);
      generation = machine.generation;
    }
    return kept;
  };
}

/** @param allocations may refuse domain ids. */
export function machineHost(
  machine: Machine,
  analysis: () => Analysis = machineAnalysis(machine),
  allocations?: AllocationPort,
): DriverHost {
  return analysedHost({
    analysis,
    memory: machine.memory,
    allocations,
    units: machine.units.map((unit) => unit.iommu),
    unitOf: (device) => machine.unitOf(device)?.iommu,
    configRead: (device, offset, length) => machine.configRead(device, offset, length),
    configWrite: (device, offset, length, value) =>
      machine.configWrite(device, offset, length, value),
  });
}
