/** Where the files of the package are. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { DaemonError } from "../place/daemon-error.js";

/** The package's folder. */
export function packageRoot(): string {
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at)) {
    if (existsSync(join(at, "package.json"))) return at;
    if (at === dirname(at)) throw new DaemonError("the package's folder cannot be found");
  }
}

/** The default: two engines behind a switch without ACS. */
export const DEFAULT_PLATFORM = "the-e-mail";

/**
 * Path of a platform file, given as a path or as the name of one that comes with the package.
 * @throws DaemonError.
 */
export function platformPath(given: string): string {
  if (existsSync(given)) return given;
  const shipped = join(packageRoot(), "examples", "platforms", `${given}.yaml`);
  if (!given.includes("/") && existsSync(shipped)) return shipped;
  throw new DaemonError(
    `no platform "${given}": neither a file nor the name of one that comes along`,
  );
}
