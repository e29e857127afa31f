/** Results of one program, sorted into what they say about the platform. */
import { type KernelJudge, needsHugePages } from "./judges.js";
import type { ProgramOutput } from "./tap.js";

export type Standing =
  | "passed"
  | "failed"
  /** The program skips it by design. */
  | "skipped"
  /** There is no pool of huge pages here. */
  | "needs huge pages"
  /** The kernel that the program comes with cannot pass it either. */
  | "impossible";

export interface Instance {
  readonly name: string;
  readonly standing: Standing;
  readonly reason: string;
}

export interface ProgramOutcome {
  readonly program: string;
  readonly suite: string;
  /** How many the program announced. */
  readonly planned: number | undefined;
  readonly instances: readonly Instance[];
  /** The program could not be built or run; undefined: it ran to its end. */
  readonly problem?: string;
}

export interface KernelOutcome {
  readonly version: string;
  /** Debian package with its version. */
  readonly package: string;
  /** Other kernel than asked for: the table informs, and nothing is judged. */
  readonly reportOnly: boolean;
  readonly programs: readonly ProgramOutcome[];
}

/** @param hugePages how many 2 MiB pages the pool holds. */
export function judge(
  kernel: KernelJudge,
  output: ProgramOutput,
  hugePages: number,
): readonly Instance[] {
  return output.results.map(({ name, verdict, reason }) => {
    if (verdict !== "failed") return { name, standing: verdict, reason };
    const impossible = kernel.impossible.get(name);
    if (impossible !== undefined) return { name, standing: "impossible", reason: impossible };
    if (hugePages === 0 && needsHugePages(name)) {
      return { name, standing: "needs huge pages", reason: "no pool of huge pages here" };
    }
    return { name, standing: "failed", reason };
  });
}

export function count(program: ProgramOutcome, standing: Standing): number {
  return program.instances.filter((one) => one.standing === standing).length;
}

/** Announced and never reported: the program died. */
export function missing(program: ProgramOutcome): number {
  return Math.max(0, (program.planned ?? 0) - program.instances.length);
}

export function isGood(program: ProgramOutcome): boolean {
  return (
    program.problem === undefined &&
    program.instances.length > 0 &&
    count(program, "failed") === 0 &&
    missing(program) === 0
  );
}
