/** docs/reference/conformance.md: what the kernel's own test programs say. */
import {
  count,
  type Instance,
  isGood,
  type KernelOutcome,
  missing,
  type ProgramOutcome,
} from "./outcome.js";

const HEAD = `# Conformance

The kernel's own test programs, built from its sources as they are, run on a platform of ioasis
instead of a kernel. Written by \`npm run conformance\`.

*Skipped*: the program itself says that this variant has nothing to test. *Huge pages*: it needs a
pool of 2 MiB pages, which the machine of this run did not have. *Impossible*: the kernel that the
program comes with does not pass it either.
`;

const TABLE = [
  "| program | instances | passed | failed | skipped | huge pages | impossible |",
  "|---|---|---|---|---|---|---|",
];

export function conformancePage(kernels: readonly KernelOutcome[]): string {
  return `${[HEAD, ...kernels.map(section)].join("\n")}`;
}

function section(kernel: KernelOutcome): string {
  const lines = [`## Linux ${kernel.version}`, "", `Sources: ${kernel.package}.`];
  if (kernel.reportOnly) lines.push("Not the version that is promised: for information only.");
  lines.push("", ...TABLE, ...kernel.programs.map(row), "");
  for (const program of kernel.programs) lines.push(...notPassed(program));
  return lines.join("\n");
}

function row(program: ProgramOutcome): string {
  const numbers = [
    program.planned ?? "?",
    count(program, "passed"),
    count(program, "failed") + missing(program),
    count(program, "skipped"),
    count(program, "needs huge pages"),
    count(program, "impossible"),
  ];
  return `| \`${program.program}\` | ${numbers.join(" | ")} |`;
}

function notPassed(program: ProgramOutcome): string[] {
  const rest = program.instances.filter((one) => one.standing !== "passed");
  const lost = missing(program);
  if (rest.length === 0 && lost === 0 && program.problem === undefined) return [];
  const lines = [`Not passed by \`${program.program}\`:`, ""];
  if (program.problem !== undefined) lines.push(`- ${inline(program.problem)}`);
  if (lost > 0) lines.push(`- ${lost} instances without a result`);
  for (const [why, names] of grouped(rest)) {
    lines.push(`- ${why}: ${names.map((name) => `\`${name}\``).join(", ")}`);
  }
  return [...lines, ""];
}

/** Instances by standing and reason. */
function grouped(instances: readonly Instance[]): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const { name, standing, reason } of instances) {
    const why = reason === "" ? standing : `${standing} (${inline(reason)})`;
    groups.set(why, [...(groups.get(why) ?? []), name]);
  }
  return groups;
}

function inline(text: string): string {
  return text.replace(/\s+/g, " ").replace(/[|<>]/g, " ").trim();
}

/** One line for a terminal. */
export function summaryLine(kernel: KernelOutcome, program: ProgramOutcome): string {
  const parts = (["passed", "failed", "skipped", "needs huge pages", "impossible"] as const)
    .map((standing) => [standing, count(program, standing)] as const)
    .filter(([standing, number]) => number > 0 || standing === "failed")
    .map(([standing, number]) => `${number} ${standing}`);
  const lost = missing(program);
  if (lost > 0) parts.push(`${lost} without a result`);
  const verdict = isGood(program) ? "ok" : "NOT OK";
  const of = program.planned === undefined ? "" : `${program.planned} instances: `;
  return `${kernel.version} ${program.program}: ${verdict}, ${of}${parts.join(", ")}`;
}
