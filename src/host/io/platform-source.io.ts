/**
 * Platform files as sources. Apart from the rest of loading, because reading YAML and laying out a
 * platform are much code that other sources do without: load.io.ts imports this only when a
 * platform file comes.
 */
import { dirname, isAbsolute, join } from "node:path";
import { buildPlatform } from "../../platform/index.js";
import { InputError } from "../../units/index.js";
import { type Capture, type CapturePart, fromCapture, platformPart } from "../index.js";
import { parsePlatform } from "./platform-file.io.js";

/**
 * @param loadFrom reads the captures that a platform starts `from`; undefined where a platform may
 * not name other files (inside an archive).
 * @throws InputError for text that is no YAML, for captures that cannot be read, and
 * PlatformError with all problems of the platform.
 */
export async function platformSource(
  text: string,
  file: string,
  loadFrom: ((sources: readonly string[]) => Promise<Capture>) | undefined,
): Promise<CapturePart> {
  const platform = parsePlatform(text, file);
  const { from } = platform.node;
  if (from === undefined) return platformPart(buildPlatform(platform), file);
  const place = { file, line: platform.lines.lineOf(["from"]), field: "from" };
  if (loadFrom === undefined)
    throw new InputError("a platform in an archive names other files", place, "roots");
  const paths = typeof from === "string" ? [from] : from;
  const capture = await loadFrom(paths.map((path) => besideFile(path, file)));
  const { fabric, facts } = fromCapture(capture);
  const built = buildPlatform(platform, { functions: fabric.functions, facts });
  return platformPart(built, file, capture);
}

/** Paths count from the directory of the file; `-` is a file of that name. */
function besideFile(path: string, file: string): string {
  const full = isAbsolute(path) ? path : join(dirname(file), path);
  return full === "-" ? "./-" : full;
}
