/**
 * `npm run samples [FOLDER]`: every captured host and booted machine in the shared folder, computed under its
 * own kernel's rules and under all three, compared with the groups its kernel made. Writes
 * docs/reference/samples.md. Needs the samples beside the repository (they are not part of it).
 */
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Capture, fromCapture } from "../src/host/index.js";
import { loadCapture } from "../src/host/io/index.js";
import { type Analysis, analyse, type LinuxRuleSet, nearestRules } from "../src/isolation/index.js";
import { buildFabric } from "../src/pcie/index.js";
import { InputError } from "../src/units/index.js";
import { type Agreement, agreementOf } from "../src/view/index.js";

const RULES: readonly LinuxRuleSet[] = ["linux-6.1", "linux-6.12", "linux-7.2"];

/** Folders that hold two states of one host: the files that belong together. */
const STATES: Readonly<Record<string, readonly (readonly string[])[]>> = {
  "15-emerson-amd-raven-gpu-2020": [
    ["lspci-vv.txt", "dmesg-5.9.3.txt"],
    ["lspci-vv-5.4.txt", "dmesg-5.4.0-47.txt"],
  ],
  "19-x99-groups-5.8-vs-5.9": [["lspci-bridges-in-mail.txt"]],
};

export interface SampleRow {
  readonly sample: string;
  readonly kernel: string | undefined;
  readonly functions: number;
  /** Functions without configuration space: nothing but names was captured. */
  readonly bare: number;
  readonly own: LinuxRuleSet;
  readonly agreement: Readonly<Record<LinuxRuleSet, Agreement | null>>;
  readonly linuxGroups: number;
  readonly isolationGroups: number;
  readonly error?: string;
}

/** One row per state of each sample folder below `folder`. */
export async function sampleRows(folder: string): Promise<SampleRow[]> {
  const rows: SampleRow[] = [];
  for (const kind of ["hosts", "groundtruth"]) {
    for (const sample of readdirSync(join(folder, kind)).sort()) {
      if (sample.endsWith(".md")) continue;
      const path = join(folder, kind, sample);
      const states = STATES[sample]?.map((files) => files.map((file) => join(path, file)));
      for (const [index, sources] of (states ?? [[path]]).entries()) {
        const name = states === undefined ? sample : `${sample} (${STATES[sample]?.[index]?.[0]})`;
        rows.push(row(name, await loadCapture(sources)));
      }
    }
  }
  return rows;
}

function row(sample: string, capture: Capture): SampleRow {
  const { fabric: description, facts } = fromCapture(capture);
  const fabric = buildFabric(description);
  const analyses = new Map<LinuxRuleSet, Analysis>();
  for (const rules of RULES) analyses.set(rules, analyse(fabric, facts, { rules }));
  const agree = (rules: LinuxRuleSet): Agreement | null => {
    const analysis = analyses.get(rules) as Analysis;
    return agreementOf(analysis, analysis.partition, capture.recorded);
  };
  const newest = analyses.get("linux-7.2") as Analysis;
  return {
    sample,
    kernel: facts.kernel,
    functions: capture.functions.length,
    bare: capture.functions.filter((fn) => fn.config.extent === 0).length,
    own: nearestRules(facts.kernel),
    agreement: {
      "linux-6.1": agree("linux-6.1"),
      "linux-6.12": agree("linux-6.12"),
      "linux-7.2": agree("linux-7.2"),
    },
    linuxGroups: newest.partition.groups.length,
    isolationGroups: newest.deviceCentric.groups.length,
  };
}

/** Why computed and recorded groups differ, as the kinds of evidence; empty when they agree. */
export function differenceKinds(agreement: Agreement | null): string[] {
  const kinds = agreement?.different.flatMap((d) => d.because.map((e) => e.kind)) ?? [];
  return [...new Set(kinds)].sort();
}

function cell(agreement: Agreement | null): string {
  if (agreement === null) return "-";
  const { same, compared } = agreement;
  return same === compared ? `${same}` : `**${same} of ${compared}**`;
}

export function renderTable(rows: readonly SampleRow[]): string {
  const lines = [
    "# Samples: computed groups against the groups kernels made",
    "",
    "Made by `npm run samples` from captures that are not part of this repository: real hosts, and machines",
    "booted under real kernels in QEMU. Each number is devices whose computed group equals the recorded one;",
    "a single number means all of them. *own* is the rule set nearest to the sample's kernel. The last columns",
    "count groups under linux-7.2 and device-centric groups: fewer of the latter means that the fabric joins",
    "what Linux separates.",
    "",
    "| sample | kernel | functions | own | 6.1 | 6.12 | 7.2 | Linux groups | isolation groups | note |",
    "|---|---|--:|---|--:|--:|--:|--:|--:|---|",
  ];
  for (const r of rows) lines.push(rowLine(r));
  const withGroups = rows.filter((r) => r.agreement[r.own] !== null);
  const equal = withGroups.filter((r) => differenceKinds(r.agreement[r.own]).length === 0);
  const devices = withGroups.reduce((n, r) => n + (r.agreement[r.own]?.compared ?? 0), 0);
  const same = withGroups.reduce((n, r) => n + (r.agreement[r.own]?.same ?? 0), 0);
  lines.push(
    "",
    `${equal.length} of ${withGroups.length} samples with recorded groups are equal under their own rules; ` +
      `${same} of ${devices} devices.`,
  );
  return `${lines.join("\n")}\n`;
}

function rowLine(r: SampleRow): string {
  const kinds = differenceKinds(r.agreement[r.own]);
  const notes: string[] = [];
  if (r.bare * 2 > r.functions) notes.push("names only, no configuration space");
  if (kinds.length > 0) notes.push(`differs: ${kinds.join(", ")}`);
  const cells = [
    r.sample,
    r.kernel ?? "not named",
    String(r.functions),
    r.own.replace("linux-", ""),
    ...RULES.map((rules) => cell(r.agreement[rules])),
    String(r.linuxGroups),
    String(r.isolationGroups),
    notes.join("; "),
  ];
  return `| ${cells.join(" | ")} |`;
}

async function main(folder: string): Promise<void> {
  if (!existsSync(join(folder, "groundtruth"))) {
    throw new InputError(
      "no samples here",
      { file: folder },
      "a folder with hosts/ and groundtruth/",
    );
  }
  const text = renderTable(await sampleRows(folder));
  writeFileSync(new URL("../../docs/reference/samples.md", import.meta.url), text);
  process.stdout.write(text);
}

if (process.argv[1]?.endsWith("samples-table.js") === true) {
  const root = resolve(fileURLToPath(import.meta.url), "../../..");
  await main(process.argv[2] ?? resolve(root, "../shared"));
}
