/** From sources on the command line to an analysis: load, wire up, choose rules. */
import { type Capture, fromCapture } from "../host/index.js";
// Not from the index: it also has the YAML reader, which would come with every command.
import { loadCapture } from "../host/io/load.io.js";
import { type Analysis, analyse, type RuleSet } from "../isolation/index.js";
import { buildFabric, type Fabric } from "../pcie/index.js";
import { type Bdf, formatBdf, parseBdf } from "../units/index.js";
import type { CommonOptions } from "./options.js";
import { type Output, UsageError } from "./output.js";
import { type ResolvedRules, resolveRules } from "./rules.js";

export interface AnalysisInput {
  /** What the user named, for headings. */
  readonly source: string;
  readonly capture: Capture;
  readonly fabric: Fabric;
  readonly analysis: Analysis;
  readonly resolved: ResolvedRules;
  /** The same host under another rule set. */
  readonly under: (rules: RuleSet) => Analysis;
}

export async function readAnalysis(out: Output, options: CommonOptions): Promise<AnalysisInput> {
  const sources = options.from ?? [];
  const progress = startProgress(out, sources);
  try {
    const capture = await loadCapture(sources);
    const { fabric: description, facts: shown } = fromCapture(capture);
    const { absentAcs } = options;
    const facts = absentAcs === undefined ? shown : { ...shown, absentAcs };
    const fabric = buildFabric(description);
    const resolved = resolveRules(options.rules, facts.kernel, capture.rules);
    const strict = options.strict === true;
    const under = (rules: RuleSet): Analysis => analyse(fabric, facts, { rules, strict });
    const source = sources.length === 0 ? "this host" : sources.join(", ");
    return { source, capture, fabric, analysis: under(resolved.rules), resolved, under };
  } finally {
    progress();
  }
}

/** Devices named on the command line, each once. */
export function findDevices(fabric: Fabric, names: readonly string[]): Bdf[] {
  return [...new Set(names.map((name) => findDevice(fabric, name)))];
}

export function findDevice(fabric: Fabric, name: string): Bdf {
  const bdf = parseBdf(name);
  if (bdf === undefined) {
    throw new UsageError(`"${name}" is no device address; like 03:00.0 or 0000:03:00.0`);
  }
  if (fabric.function(bdf) !== undefined) return bdf;
  const near = nearestDevices(fabric, bdf);
  throw new UsageError(`no device ${formatBdf(bdf)} in this capture${near}`);
}

function nearestDevices(fabric: Fabric, bdf: Bdf): string {
  const near = [...fabric.functions]
    .sort((a, b) => Math.abs(a.bdf - bdf) - Math.abs(b.bdf - bdf))
    .slice(0, 3)
    .map((fn) => formatBdf(fn.bdf));
  return near.length === 0 ? "" : `; near it: ${near.join(", ")}`;
}

/**
 * A line on the terminal when reading takes longer than a third of a second; removed afterwards.
 */
function startProgress(out: Output, sources: readonly string[]): () => void {
  if (!out.interactive) return () => {};
  const what = sources.length === 0 ? "this host" : sources.join(", ");
  let shown = false;
  const timer = setTimeout(() => {
    shown = true;
    process.stderr.write(`reading ${what} …`);
  }, 300);
  return () => {
    clearTimeout(timer);
    if (shown) process.stderr.write("\r\u001b[K");
  };
}
