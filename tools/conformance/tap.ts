/** What the kernel's test programs print: TAP, with comments before the line of each test. */

export type Verdict = "passed" | "failed" | "skipped";

export interface InstanceResult {
  /** `fixture.variant.test`, or `fixture.test` where there are no variants. */
  readonly name: string;
  readonly verdict: Verdict;
  /** Why it was skipped, or what failed first; "" when it passed. */
  readonly reason: string;
}

export interface ProgramOutput {
  /** From the line `1..N`; undefined: the program did not get that far. */
  readonly planned: number | undefined;
  readonly results: readonly InstanceResult[];
}

const RESULT = /^(not )?ok \d+ (\S+)(?:\s+#\s*(SKIP)?\s*(.*))?$/;

/** Reads the whole output of one program. */
export function readTap(text: string): ProgramOutput {
  let planned: number | undefined;
  let comments: string[] = [];
  const results: InstanceResult[] = [];
  for (const line of text.split("\n")) {
    const plan = /^1\.\.(\d+)$/.exec(line);
    if (plan !== null) planned = Number(plan[1]);
    const match = RESULT.exec(line);
    if (match === null) {
      if (line.startsWith("# ") && !/^#\s+RUN /.test(line)) comments.push(line.slice(2).trim());
      continue;
    }
    const [, not, name = "", directive, said = ""] = match;
    const verdict = not !== undefined ? "failed" : directive === "SKIP" ? "skipped" : "passed";
    results.push({ name, verdict, reason: reasonOf(verdict, said, comments) });
    comments = [];
  }
  return { planned, results };
}

function reasonOf(verdict: Verdict, said: string, comments: readonly string[]): string {
  if (verdict === "passed") return "";
  if (verdict === "skipped") return said;
  return comments.find((line) => !/^(OK|FAIL|SKIP) /.test(line)) ?? "no message";
}
