/**
 * The text of `ioasis groups`: one table, a reason under each shared group, then what needs
 * attention.
 */
import { distinctEvidence, type Enlargement, type Partition } from "../../isolation/index.js";
import { type Bdf, formatBdf } from "../../units/index.js";
import { type Agreement, type Difference, describeDevice, sentences } from "../../view/index.js";
import type { AnalysisInput } from "../analysis-input.js";
import type { Output } from "../output.js";
import { drawCautions, drawHeading } from "./heading.js";
import { fit, labelled, MAX_COLUMNS, wrap } from "./text.js";

const REASONS_PER_GROUP = 3;

export function drawGroups(out: Output, input: AnalysisInput, agreement: Agreement | null): void {
  drawHeading(out, input);
  const { partition } = input.analysis;
  const reasons = groupReasons(input, partition);
  const idWidth = String(partition.groups.length).length;
  for (const [id, devices] of partition.groups.entries()) {
    for (const [index, device] of devices.entries()) {
      const label = index === 0 ? String(id).padStart(idWidth) : " ".repeat(idWidth);
      out.line(`${out.paint.bold(label)}  ${deviceLine(input, device, idWidth)}`);
    }
    for (const reason of reasons.get(id) ?? []) {
      out.line(out.paint.dim(wrap(`└ ${reason}`, idWidth + 6, idWidth + 4)));
    }
  }
  drawUngrouped(out, input);
  drawConditional(out, input);
  drawEnlargements(out, input);
  drawAgreement(out, input, agreement);
  drawCautions(out, input);
}

function deviceLine(input: AnalysisInput, device: Bdf, idWidth: number): string {
  const fn = input.fabric.function(device);
  const name = fn === undefined ? "" : describeDevice(fn);
  const driver = fn?.description.driver;
  const suffix = typeof driver === "string" ? `  [${driver}]` : "";
  const room = MAX_COLUMNS - idWidth - 2 - 14 - suffix.length;
  return `${formatBdf(device).padEnd(12)}  ${fit(name, room)}${suffix}`;
}

/** Up to three sentences per group with company. One pass over the joins. */
function groupReasons(input: AnalysisInput, partition: Partition): Map<number, string[]> {
  const evidence = new Map<number, Partition["joins"][number]["because"][number][]>();
  for (const join of partition.joins) {
    const id = partition.groupOf.get(join.a);
    if (id === undefined) continue;
    const list = evidence.get(id);
    if (list === undefined) evidence.set(id, [...join.because]);
    else if (list.length < 24) list.push(...join.because);
  }
  const out = new Map<number, string[]>();
  for (const [id, list] of evidence) {
    const all = sentences(input.analysis, distinctEvidence(list));
    const shown = all.slice(0, REASONS_PER_GROUP);
    const [a, b] = partition.groups[id] ?? [];
    if (all.length > shown.length && a !== undefined && b !== undefined) {
      shown.push(`more: ioasis explain ${formatBdf(a)} ${formatBdf(b)}`);
    }
    out.set(id, shown);
  }
  return out;
}

function drawUngrouped(out: Output, input: AnalysisInput): void {
  const { ungrouped } = input.analysis.partition;
  if (ungrouped.length === 0) return;
  if (input.analysis.partition.groups.length > 0) out.line();
  out.line(out.paint.bold("In no group"));
  const byReason = new Map<string, Bdf[]>();
  for (const { device, because } of ungrouped) {
    const first = because[0];
    const reason = first === undefined ? "" : first.kind;
    byReason.set(reason, [...(byReason.get(reason) ?? []), device]);
  }
  for (const devices of byReason.values()) {
    for (const device of devices) out.line(`  ${deviceLine(input, device, 0)}`);
    const first = devices[0];
    const because = ungrouped.find((u) => u.device === first)?.because ?? [];
    for (const sentence of sentences(input.analysis, because)) {
      out.line(out.paint.dim(wrap(`└ ${sentence}`, 6, 4)));
    }
  }
}

/** Groups that this kernel makes only under a condition that the capture does not settle. */
function drawConditional(out: Output, input: AnalysisInput): void {
  const { conditional, rules } = input.analysis.linux;
  if (conditional.length === 0 || rules !== input.analysis.rules) return;
  out.line();
  out.line(out.paint.bold("In a group under a condition"));
  out.line(wrap(conditional.map((c) => formatBdf(c.device)).join(", "), 2, 2));
  const text = "With this IOMMU driver each gets its group only when a driver binds to it.";
  out.line(out.paint.dim(wrap(`└ ${text}`, 6, 4)));
}

/** The difference people do not expect: separate groups, one fabric. */
function drawEnlargements(out: Output, input: AnalysisInput): void {
  const { analysis } = input;
  if (analysis.enlargements.length === 0) return;
  const linux = analysis.rules !== "device-centric";
  const may = analysis.strict ? "routes or may route" : "routes";
  out.line();
  out.line(
    out.paint.yellow(
      linux
        ? `! Separate groups, yet NOT isolated: the hardware ${may} between these, past the IOMMU`
        : `! Larger than Linux's groups: the hardware ${may} between the members`,
    ),
  );
  for (const enlargement of analysis.enlargements) drawEnlargement(out, input, enlargement);
}

function drawEnlargement(out: Output, input: AnalysisInput, enlargement: Enlargement): void {
  const { analysis } = input;
  const members = analysis.deviceCentric.groups[enlargement.group] ?? [];
  const endpoints = members.filter((m) => input.fabric.function(m)?.isBridge === false);
  const pair = telltalePair(input, endpoints.length > 1 ? endpoints : members);
  const names = (endpoints.length > 0 ? endpoints : members).slice(0, 6).map(formatBdf);
  const more =
    endpoints.length > names.length ? ` and ${endpoints.length - names.length} more` : "";
  out.line(wrap(`${names.join(", ")}${more}`, 4, 2));
  for (const sentence of sentences(analysis, distinctEvidence(enlargement.because)).slice(0, 2)) {
    out.line(out.paint.dim(wrap(`└ ${sentence}`, 6, 4)));
  }
  if (pair !== undefined) {
    out.line(
      out.paint.dim(`    proof: ioasis explain ${formatBdf(pair[0])} ${formatBdf(pair[1])}`),
    );
  }
}

/** Two members that Linux separates. */
function telltalePair(input: AnalysisInput, members: readonly Bdf[]): [Bdf, Bdf] | undefined {
  const linux = input.analysis.partitionUnder(input.analysis.linuxRules);
  const [first] = members;
  if (first === undefined) return undefined;
  const home = linux.groupOf.get(first);
  const other = members.find((m) => linux.groupOf.get(m) !== home);
  return other === undefined ? undefined : [first, other];
}

function drawAgreement(out: Output, input: AnalysisInput, agreement: Agreement | null): void {
  const { recorded } = input.capture;
  out.line();
  if (agreement === null || recorded === null) {
    out.line("The capture has no groups of a kernel to compare with.");
    return;
  }
  if (recorded.groups.length === 0) {
    out.line(`The kernel made no groups (${recorded.from}).`);
    return;
  }
  const { compared, same, different } = agreement;
  const paint = different.length === 0 ? out.paint.green : out.paint.red;
  const verdict = different.length === 0 ? "agree" : "differ";
  out.line(
    paint(
      `Computed and recorded groups ${verdict}: ${same} of ${compared} devices (${recorded.from}).`,
    ),
  );
  if (input.analysis.rules === "device-centric" && different.length > 0) {
    out.line(
      "Device-centric groups are larger wherever the fabric joins what the kernel separates.",
    );
  }
  const clusters = clusterDifferences(different);
  for (const cluster of clusters.slice(0, CLUSTERS_SHOWN)) drawCluster(out, input, cluster);
  if (clusters.length > CLUSTERS_SHOWN)
    out.line(`  … and ${clusters.length - CLUSTERS_SHOWN} more`);
}

const CLUSTERS_SHOWN = 10;
const CLUSTER_REASONS = 3;

/** Differences that share a computed or a recorded group are one story. */
function clusterDifferences(different: readonly Difference[]): Difference[][] {
  const clusters: Difference[][] = [];
  const homeOf = new Map<Bdf, Difference[]>();
  for (const difference of different) {
    const devices = [...difference.computed, ...difference.recorded];
    const homes = new Set(devices.map((d) => homeOf.get(d)).filter((home) => home !== undefined));
    const [first = [], ...others] = homes;
    if (homes.size === 0) clusters.push(first);
    for (const other of others) {
      first.push(...other);
      clusters.splice(clusters.indexOf(other), 1);
    }
    first.push(difference);
    for (const d of first.flatMap((one) => [...one.computed, ...one.recorded]))
      homeOf.set(d, first);
  }
  return clusters;
}

function drawCluster(out: Output, input: AnalysisInput, cluster: readonly Difference[]): void {
  const show = (groups: readonly (readonly Bdf[])[]): string =>
    [...new Set(groups.map(listOf))].join(" | ");
  out.line(labelled("  - computed:", 14, show(cluster.map((d) => d.computed))));
  out.line(labelled("    recorded:", 14, show(cluster.map((d) => d.recorded))));
  const because = distinctEvidence(cluster.flatMap((d) => d.because));
  const all = sentences(input.analysis, because);
  for (const sentence of all.slice(0, CLUSTER_REASONS)) {
    out.line(out.paint.dim(wrap(`└ ${sentence}`, 6, 4)));
  }
  if (all.length > CLUSTER_REASONS) out.line(out.paint.dim("    └ …"));
}

function listOf(devices: readonly Bdf[]): string {
  return devices.length === 0 ? "in no group" : devices.map(formatBdf).join(", ");
}
