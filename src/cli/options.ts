/** What every command gets: options as parsed, and the shape of a command's entry. */
import type { Command } from "commander";
import type { ExitCode, Output } from "./output.js";
import type { RuleChoice } from "./rules.js";

export interface CommonOptions {
  readonly from?: readonly string[];
  readonly rules: RuleChoice;
  readonly strict?: boolean;
  readonly absentAcs?: "shares" | "isolates";
  readonly check?: boolean;
  readonly json?: boolean;
  /** capture only. */
  readonly redact?: boolean;
  readonly shell?: boolean;
  /** play only. */
  readonly traceFile?: string;
  readonly verbose?: boolean;
  /** explain-dma only. */
  readonly pasid?: string;
  readonly iova?: string;
  readonly write?: boolean;
  readonly addressType?: string;
  readonly platform?: string;
  /** run and serve only. */
  readonly name?: string;
  readonly bind?: readonly string[];
  readonly grant?: readonly string[];
  readonly trace?: string;
  /** trace only. */
  readonly perfetto?: string;
}

/** `program` is the whole command tree, for what is made from it (completion). */
export type Run = (
  out: Output,
  args: readonly string[],
  options: CommonOptions,
  program: Command,
) => Promise<ExitCode>;
