/** The text of `ioasis p2p`: a matrix of the devices asked for, or who reaches whom. */
import type { Reach } from "../../isolation/index.js";
import { type Bdf, formatBdf, formatSpan } from "../../units/index.js";
import {
  bestReaches,
  claimSentences,
  describeDevice,
  type HowReached,
  type P2pPayload,
} from "../../view/index.js";
import type { AnalysisInput } from "../analysis-input.js";
import type { Output } from "../output.js";
import { drawCautions, drawHeading } from "./heading.js";
import { fit, MAX_COLUMNS, wrap } from "./text.js";

const SIGN: Readonly<Record<HowReached, string>> = {
  "below-root-complex": "P2P",
  "through-root-complex": "RC?",
  no: "-",
};

export function drawMatrix(
  out: Output,
  input: AnalysisInput,
  payload: P2pPayload,
  only: readonly Bdf[],
): void {
  drawHeading(out, input);
  const devices = [...only].sort((a, b) => a - b).map(formatBdf);
  for (const name of devices) out.line(`${name}  ${fit(nameOf(input, name), 84)}`);
  out.line();
  const how = new Map(payload.pairs.map((p) => [`${p.from}>${p.to}`, p]));
  const perRow = Math.max(1, Math.floor((MAX_COLUMNS - 14) / 14));
  for (let start = 0; start < devices.length; start += perRow) {
    const columns = devices.slice(start, start + perRow);
    out.line(["from \\ to".padEnd(12), ...columns.map((c) => c.padStart(12))].join("  "));
    for (const from of devices) {
      const cells = columns.map((to) => {
        const pair = how.get(`${from}>${to}`);
        if (pair === undefined) return ".".padStart(12);
        const open =
          pair.certainty === "implementation-defined" && pair.how !== "through-root-complex";
        return `${SIGN[pair.how]}${open ? "?" : ""}`.padStart(12);
      });
      out.line([from.padEnd(12), ...cells].join("  "));
    }
    out.line();
  }
  drawLegend(out, payload.edges);
  drawCautions(out, input);
}

export function drawReach(
  out: Output,
  input: AnalysisInput,
  only: readonly Bdf[] | undefined,
): void {
  drawHeading(out, input);
  const devices = only ?? input.fabric.functions.map((fn) => fn.bdf).sort((a, b) => a - b);
  for (const device of devices) {
    const reaches = input.analysis.deviceReport(device)?.reaches ?? [];
    if (reaches.length === 0 && only === undefined) continue;
    out.line(`${out.paint.bold(formatBdf(device))}  ${fit(nameOf(input, formatBdf(device)), 84)}`);
    if (reaches.length === 0) out.line("  reaches no peer without the IOMMU");
    drawReaches(out, [...bestReaches(reaches).values()], only !== undefined);
    if (only !== undefined) drawClaims(out, input, device);
  }
  out.line();
  out.line(
    wrap(
      "reaches: a switch or a bus must route so, and the IOMMU does not see it. may reach: the " +
        "hardware may or may not; nothing in a capture tells.",
    ),
  );
  drawEdgeCount(out, input.analysis.p2p.edges);
  drawCautions(out, input);
}

/** What remains open when the device lies about itself. */
export function drawClaims(out: Output, input: AnalysisInput, device: Bdf): void {
  const claims = claimSentences(input.analysis, device);
  if (claims.length === 0) return;
  out.line();
  out.line(out.paint.bold("If it lies"));
  for (const text of claims) out.line(wrap(`- ${text}`, 4, 2));
}

/** Lines per device and certainty in the overview. */
const SHOWN_PEERS = 4;

/** In the overview the peers across the root complex, which are many, are only counted. */
function drawReaches(out: Output, reaches: readonly Reach[], full: boolean): void {
  const listed = full ? reaches : reaches.filter((reach) => !isAcross(reach));
  const limit = full ? listed.length : SHOWN_PEERS;
  for (const certainty of ["certain", "implementation-defined"] as const) {
    const list = listed.filter((reach) => reach.certainty === certainty);
    for (const reach of list.slice(0, limit)) {
      const windows = reach.windows.slice(0, 2).map(formatSpan).join(", ");
      const how = certainty === "certain" ? "reaches" : "may reach";
      const shown = windows === "" ? "" : `: ${windows}`;
      out.line(wrap(`${how} ${formatBdf(reach.device)} via ${reach.via}${shown}`, 6, 2));
    }
    if (list.length > limit) out.line(`  … and ${list.length - limit} more`);
  }
  const across = reaches.length - listed.length;
  const peers = listed.length > 0 ? "more" : "peers";
  if (across > 0) {
    out.line(`  may reach ${across} ${peers} through the root complex, if it routes so`);
  }
}

function isAcross(reach: Reach): boolean {
  return reach.via === "root" && reach.certainty === "implementation-defined";
}

function drawLegend(out: Output, edges: P2pPayload["edges"]): void {
  out.line(
    wrap(
      "P2P: reaches the other directly, below the root complex; the IOMMU does not see it. " +
        "RC?: only through " +
        "the root complex, if it routes so. A ? marks what the hardware may or may not do. -: " +
        "not without the IOMMU.",
    ),
  );
  drawEdgeCount(out, edges);
}

function drawEdgeCount(out: Output, edges: P2pPayload["edges"]): void {
  const { certain, implementationDefined } = edges;
  out.line(`${certain} certain edges, ${implementationDefined} implementation-defined.`);
}

function nameOf(input: AnalysisInput, name: string): string {
  const fn = input.fabric.functions.find((f) => formatBdf(f.bdf) === name);
  return fn === undefined ? "" : describeDevice(fn);
}
