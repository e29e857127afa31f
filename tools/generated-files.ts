/** What generators share: write files, or with `--check` compare them with what is there. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ROOT } from "./root.js";

export interface GeneratedFile {
  /** Relative to the repository. */
  readonly path: string;
  readonly text: string;
}

/**
 * Writes the files, or with `--check` among `args` names those that differ.
 * @returns the exit code: 1 when a check found a difference.
 */
export function writeOrCheck(files: readonly GeneratedFile[], args: readonly string[]): number {
  if (!args.includes("--check")) {
    for (const { path, text } of files) {
      mkdirSync(dirname(join(ROOT, path)), { recursive: true });
      writeFileSync(join(ROOT, path), text);
    }
    return 0;
  }
  const stale = files.filter(({ path, text }) => readOrEmpty(path) !== text);
  for (const { path } of stale) console.log(`${path} is not what its generator makes`);
  return stale.length === 0 ? 0 : 1;
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(join(ROOT, path), "utf8");
  } catch {
    return "";
  }
}
