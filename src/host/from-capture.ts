/** A capture as the input of the analysis. Recorded groups stay behind: they never feed the calculation. */
import type { HostFacts } from "../isolation/index.js";
import type { FabricDescription, FunctionDescription } from "../pcie/index.js";
import type { Capture } from "./capture.js";

export interface AnalysisInput {
  readonly fabric: FabricDescription;
  readonly facts: HostFacts;
}

export function fromCapture(capture: Capture): AnalysisInput {
  const functions: FunctionDescription[] = capture.functions.map(
    ({ place: _place, idsFrom: _idsFrom, shown: _shown, ...description }) => description,
  );
  return { fabric: { functions }, facts: capture.facts };
}
