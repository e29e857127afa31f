/** Reads a platform file, YAML or JSON, and keeps the line of every value for messages. */
import { readFile, stat } from "node:fs/promises";
import { isNode, LineCounter, parseDocument, type ScalarTag } from "yaml";
import {
  type InputPath,
  type LineMap,
  type PlatformDescription,
  readPlatform,
} from "../../platform/index.js";
import { InputError } from "../../units/index.js";
import { PLATFORM_FILE_LIMIT } from "./limits.js";

/** @throws InputError when the file cannot be read or is not a platform description. */
export async function readPlatformFile(file: string): Promise<PlatformDescription> {
  let text: string;
  try {
    const { size } = await stat(file);
    if (size > PLATFORM_FILE_LIMIT) {
      throw new InputError("is too large for a platform file", { file }, "at most 16 MiB");
    }
    text = await readFile(file, "utf8");
  } catch (error) {
    if (InputError.is(error)) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new InputError(`cannot be read: ${why}`, { file }, "a platform file");
  }
  return parsePlatform(text, file);
}

/** The same for text that is at hand. JSON is YAML too. */
export function parsePlatform(text: string, file: string): PlatformDescription {
  const { value, lines } = parseWithLines(text, file);
  return readPlatform(value, lines);
}

/** The value of a YAML text, and where its parts stand. @throws InputError for other text. */
export function parseWithLines(text: string, file: string): { value: unknown; lines: LineMap } {
  const counter = new LineCounter();
  try {
    const document = parseDocument(text, { lineCounter: counter, customTags: withoutFloats });
    const error = document.errors[0];
    if (error !== undefined) {
      const line = counter.linePos(error.pos[0]).line;
      const problem = error.message.split("\n", 1)[0] ?? "is not YAML";
      throw new InputError(problem.replace(/ at line \d+, column \d+:?$/, ""), { file, line });
    }
    const lineOf = (path: InputPath): number | undefined => {
      for (let length = path.length; length >= 0; length--) {
        const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
        const start = isNode(node) ? node.range?.[0] : undefined;
        if (start !== undefined) return counter.linePos(start).line;
      }
      return undefined;
    };
    return { value: document.toJS(), lines: { file, lineOf } };
  } catch (error) {
    if (InputError.is(error)) throw error;
    if (error instanceof RangeError) throw new InputError("is nested too deeply", { file });
    // Too many aliases, and what else the library refuses.
    const why = error instanceof Error ? error.message : String(error);
    throw new InputError(why, { file }, "YAML or JSON");
  }
}

/** The format has no fractions: `01.0` is a device and function, not the number 1. */
function withoutFloats(tags: (ScalarTag | unknown)[]): never[] {
  return tags.filter(
    (tag) => (tag as { tag?: string }).tag !== "tag:yaml.org,2002:float",
  ) as never[];
}
