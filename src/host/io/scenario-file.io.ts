/** Reads scenario files and the platforms they name, from disk. */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { type BuiltPlatform, buildPlatform, PLATFORM_SCHEMA } from "../../platform/index.js";
import { readScenario, type Scenario } from "../../play/index.js";
import { InputError } from "../../units/index.js";
import { fromCapture } from "../from-capture.js";
import { PLATFORM_FILE_LIMIT } from "./limits.js";
import { loadCapture, readDescriptor } from "./load.io.js";
import { parseWithLines, readPlatformFile } from "./platform-file.io.js";

/** What messages call standard input. */
const STANDARD_INPUT = "(standard input)";

/** @throws InputError when the file cannot be read or is no scenario. */
export async function readScenarioFile(file: string): Promise<Scenario> {
  let text: string;
  try {
    const { size } = await stat(file);
    if (size > PLATFORM_FILE_LIMIT) {
      throw new InputError("is too large for a scenario file", { file }, "at most 16 MiB");
    }
    text = await readFile(file, "utf8");
  } catch (error) {
    if (InputError.is(error)) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new InputError(`cannot be read: ${why}`, { file }, "a scenario file");
  }
  return parseScenario(text, file);
}

/** A scenario from standard input; paths in it count from the working directory. */
export function readScenarioInput(): Scenario {
  const text = new TextDecoder().decode(readDescriptor(0, STANDARD_INPUT));
  return parseScenario(text, STANDARD_INPUT);
}

/** The same for text that is at hand. JSON is YAML too. */
export function parseScenario(text: string, file: string): Scenario {
  const { value, lines } = parseWithLines(text, file);
  if (isPlatform(value)) {
    const place = { file, line: lines.lineOf(["schema"]), field: "schema" };
    throw new InputError("is a platform, not a scenario", place, "a scenario that names it");
  }
  return readScenario(value, lines);
}

function isPlatform(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { schema } = value as { schema?: unknown };
  return schema === PLATFORM_SCHEMA;
}

/** A platform and what scenarios call it. */
export interface NamedPlatform {
  readonly name: string;
  readonly platform: BuiltPlatform;
}

/**
 * A platform file with the capture that it starts from. Paths in it count from its own directory.
 * @throws InputError.
 */
export async function loadPlatform(file: string): Promise<NamedPlatform> {
  const description = await readPlatformFile(file);
  const { from } = description.node;
  const name = basename(file).replace(/\.(ya?ml|json)$/u, "");
  if (from === undefined) return { name, platform: buildPlatform(description) };
  const paths = (typeof from === "string" ? [from] : from).map((p) => resolve(dirname(file), p));
  const { fabric, facts } = fromCapture(await loadCapture(paths));
  const { functions } = fabric;
  return { name, platform: buildPlatform(description, { functions, facts }) };
}

/**
 * The platforms of a scenario: paths from its directory, or names of files in ../platforms.
 * Standard
 * input is read as if it were beside an `examples` directory.
 */
export async function platformsOf(scenario: Scenario): Promise<readonly NamedPlatform[]> {
  const isInput = scenario.file === STANDARD_INPUT;
  const base = isInput ? "." : dirname(scenario.file);
  const out: NamedPlatform[] = [];
  for (const [i, named] of scenario.platforms.entries()) {
    const isPath = /[/.]/u.test(named);
    const folder = isInput ? join("examples", "platforms") : join(base, "..", "platforms");
    const file = isPath ? resolve(base, named) : join(folder, `${named}.yaml`);
    if (!(await isFile(file))) {
      throw new InputError("names no file", scenario.platformPlaces[i] ?? { file }, file);
    }
    out.push(await loadPlatform(file));
  }
  return out;
}

/** Scenario files that an argument names: itself, or all in a directory. @throws InputError. */
export async function scenarioFiles(path: string): Promise<readonly string[]> {
  const isDirectory = await stat(path).then(
    (s) => s.isDirectory(),
    () => false,
  );
  if (!isDirectory) return [path];
  const names = (await readdir(path)).filter((n) => /\.ya?ml$/u.test(n));
  if (names.length === 0) throw new InputError("holds no scenario files", { file: path }, "*.yaml");
  return names.sort().map((n) => join(path, n));
}

function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (s) => s.isFile(),
    () => false,
  );
}
