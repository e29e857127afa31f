/**
 * Captures kept beside the repository: IOASIS_SHARED, or ../shared. Tests that need them skip
 * without.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder, or undefined when there is none. */
export function sharedFolder(): string | undefined {
  // dist/test/support → repository root
  const root = resolve(fileURLToPath(import.meta.url), "../../../..");
  const given = process.env["IOASIS_SHARED"];
  const folder = given ?? resolve(root, "../shared");
  return existsSync(folder) ? folder : undefined;
}

/** For `test(name, { skip })`: false, or the reason. */
export function skipWithoutShared(): string | false {
  return sharedFolder() === undefined ? "no shared captures (set IOASIS_SHARED)" : false;
}

/** Every file of that name one folder below `kind`, in order. */
export function sharedFiles(kind: string, name: string): { sample: string; text: string }[] {
  const folder = sharedFolder();
  if (folder === undefined) return [];
  return readdirSync(join(folder, kind))
    .sort()
    .map((sample) => ({ sample, file: join(folder, kind, sample, name) }))
    .filter(({ file }) => existsSync(file))
    .map(({ sample, file }) => ({ sample, text: readFileSync(file, "utf8") }));
}
