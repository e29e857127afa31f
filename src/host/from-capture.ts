/**
 * A capture as the input of the analysis. Recorded groups stay behind: they never feed the
 * calculation.
 */
import type { HostFacts } from "../isolation/index.js";
import type { FabricDescription, FunctionDescription } from "../pcie/index.js";
import { segmentOf } from "../units/index.js";
import type { Capture } from "./capture.js";

export interface AnalysisInput {
  readonly fabric: FabricDescription;
  readonly facts: HostFacts;
}

/** Descriptions and facts only; places and what is shown stay in the capture. */
export function fromCapture(capture: Capture): AnalysisInput {
  const owners = new Map(capture.facts.childDomains?.map((d) => [d.segment, d.owner]));
  const functions: FunctionDescription[] = capture.functions.map((f) => {
    const { place: _p, idsFrom: _i, shown: _s, decided: _d, ...description } = f;
    const owner = owners.get(segmentOf(f.bdf));
    return owner === undefined || description.behindVmd !== undefined
      ? description
      : { ...description, behindVmd: owner };
  });
  return { fabric: { functions }, facts: capture.facts };
}
