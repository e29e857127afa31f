/** Where a command writes, and how it ends. Commands get this port; tests give a recording one. */
import type { Paint } from "./render/text.js";

export interface Output {
  readonly paint: Paint;
  /** Standard error is a terminal: progress may be shown. */
  readonly interactive: boolean;
  /** One line, or several, of the answer (standard output). */
  readonly line: (text?: string) => void;
  /** Warnings and progress (standard error). */
  readonly note: (text: string) => void;
}

/**
 * 0 success, 1 computed differs from recorded (with --check), 2 bad input or usage; of \`run\` the
 * program's own.
 */
export type ExitCode = number;

/** A wrong argument: exit code 2, one line on standard error. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Writes an object as JSON with a final newline. */
export function writeJson(out: Output, value: unknown): void {
  out.line(JSON.stringify(value, undefined, 2));
}

const CHUNK = 1 << 16;

/**
 * Writes what {@link writeJson} would write of `{...head, [key]: [...items]}`, in pieces: of a host
 * with 50,000 functions the whole is longer than a string may be.
 */
export function writeJsonList(
  out: Output,
  head: Readonly<Record<string, unknown>>,
  key: string,
  items: Iterable<unknown>,
): void {
  let text = `${JSON.stringify(head, undefined, 2).slice(0, -2)},\n  ${JSON.stringify(key)}: [`;
  let empty = true;
  for (const item of items) {
    if (!empty) text += ",";
    const body = `    ${JSON.stringify(item, undefined, 2).replaceAll("\n", "\n    ")}`;
    if (text.length > CHUNK) {
      out.line(text);
      text = body;
    } else text += `\n${body}`;
    empty = false;
  }
  out.line(`${text}${empty ? "" : "\n  "}]\n}`);
}
