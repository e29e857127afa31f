/** House rules about code: sizes, what the core may not touch, brands, documentation. */
import { posix } from "node:path";
import { isGenerated, isTest, lineAt, type Problem, type SourceFile } from "./tidy-source.js";

export const FILE_LIMIT = 500;
export const LINE_LIMIT = 100;

const isProduct = (s: SourceFile): boolean =>
  s.path.startsWith("src/") && !isTest(s.path) && !s.path.endsWith(".d.ts");
const isCore = (s: SourceFile): boolean =>
  isProduct(s) && !s.path.startsWith("src/cli/") && !s.path.endsWith(".io.ts");

/** `.io.ts` tells a reader which files touch the world. */
export function checkIoSuffix(sources: readonly SourceFile[]): Problem[] {
  return sources.filter(isProduct).flatMap((source) => {
    if (source.path.endsWith(".io.ts")) return [];
    return find(source, /\bfrom\s*"node:|\bimport\(\s*"node:/g, source.text).map((line) => ({
      file: source.path,
      line,
      message: "imports a Node module: only files named *.io.ts touch the world",
    }));
  });
}

const BANNED: readonly (readonly [RegExp, string])[] = [
  [/(?<![.\w$])(?:process|Buffer|console|require)\s*[.([]/g, "is Node's: hand the value in"],
  [
    /(?<![.\w$])(?:setTimeout|setInterval|setImmediate|queueMicrotask|performance)\s*[.(]/g,
    "is I/O or time",
  ],
  [/\bDate\.now\s*\(|\bnew Date\s*\(\s*\)/g, "reads a clock: the core has none, hand the time in"],
  [/\bMath\.random\s*\(/g, "is not reproducible: hand a seeded generator in"],
  [/(?<![.\w$])(?:globalThis|eval|Function)\s*[.(]/g, "reaches around the layers"],
];

export function checkCoreGlobals(sources: readonly SourceFile[]): Problem[] {
  return sources.filter(isCore).flatMap((source) =>
    BANNED.flatMap(([pattern, why]) =>
      [...source.code.matchAll(pattern)].map((match) => ({
        file: source.path,
        line: lineAt(source.text, match.index ?? 0),
        message: `${match[0].replace(/[\s([.]+$/, "")} ${why}`,
      })),
    ),
  );
}

export function checkFileLength(sources: readonly SourceFile[]): Problem[] {
  return sources
    .filter((s) => !isGenerated(s.path) && s.lines.length - 1 > FILE_LIMIT)
    .map((s) => ({
      file: s.path,
      message: `has ${s.lines.length - 1} lines, at most ${FILE_LIMIT}: one noun per file`,
    }));
}

/** The middle length of the product's files, without tests and generated ones. */
export function medianLength(sources: readonly SourceFile[]): number {
  const lengths = sources
    .filter((s) => isProduct(s) && !isGenerated(s.path))
    .map((s) => s.lines.length - 1)
    .sort((a, b) => a - b);
  return lengths[lengths.length >> 1] ?? 0;
}

export function checkLineLength(sources: readonly SourceFile[]): Problem[] {
  return sources
    .filter((s) => !isGenerated(s.path))
    .flatMap((source) =>
      source.lines.flatMap((text, i) => {
        if (text.length <= LINE_LIMIT || isUnbreakable(source, text, i)) return [];
        const message = `line of ${text.length} columns, at most ${LINE_LIMIT}`;
        return [{ file: source.path, line: i + 1, message }];
      }),
    );
}

/**
 * A URL, a regular expression, or in tests a sample line of some file; prose and code can be
 * broken.
 */
function isUnbreakable(source: SourceFile, text: string, index: number): boolean {
  const code = source.code.split("\n")[index] ?? "";
  if (/^\s*(?:\/\/|\/\*|\*)/.test(text)) return false;
  // Inside a template of several lines: the text of some page.
  if (code.trim() === "") return true;
  if (/https?:\/\/\S{60}/.test(text)) return true;
  if (isTest(source.path)) return code.replace(/\s/g, "").length < LINE_LIMIT / 2;
  return /^\s*(?:const \w+ = |\w+: |\[)?\/\S/.test(text);
}

/** Names declared as `Brand<…>` in src/units. */
export function brandNames(sources: readonly SourceFile[]): string[] {
  return sources
    .filter((s) => s.path.startsWith("src/units/") && !isTest(s.path))
    .flatMap((s) => [...s.text.matchAll(/export type (\w+) = Brand</g)].map((m) => m[1] as string));
}

/** A brand is worth something only while one checked constructor makes it. */
export function checkBrandCasts(sources: readonly SourceFile[]): Problem[] {
  const names = brandNames(sources);
  if (names.length === 0) return [];
  const pattern = new RegExp(`\\bas (?:${names.join("|")})\\b(?!\\s*(?:\\[|,|\\}))`, "g");
  return sources
    .filter((s) => isProduct(s) && !s.path.startsWith("src/units/") && !isGenerated(s.path))
    .flatMap((source) =>
      find(source, pattern, source.code).flatMap((line) => {
        // Taking an element that an invariant says is there (`list[0] as Bdf`) only drops
        // `undefined`.
        if (/[\])]\s+as \w+/.test(source.lines[line - 1] ?? "")) return [];
        const message = "casts to a brand: use its constructor in src/units";
        return [{ file: source.path, line, message }];
      }),
    );
}

export function checkIndexDocs(sources: readonly SourceFile[]): Problem[] {
  return sources
    .filter((s) => /^src\/.*\/index\.ts$/.test(s.path) && !s.text.startsWith("/**"))
    .map((s) => ({
      file: s.path,
      line: 1,
      message: "must begin with a comment saying what it holds",
    }));
}

const EXPORTED = /^export (?:async )?(?:function\*?|class|abstract class) (\w+)/gm;
const RE_EXPORT = /^export (?:type )?(\*|\{[^}]*\}) from "(\.[^"]+)\.js"/gm;

/** Names that each file shows to library users through an index.ts; "*" = everything it exports. */
function publicNames(sources: readonly SourceFile[]): Map<string, Set<string>> {
  const names = new Map<string, Set<string>>();
  for (const index of sources.filter((s) => /^src\/.*\/index\.ts$/.test(s.path))) {
    for (const [, list, from] of index.text.matchAll(RE_EXPORT)) {
      const path = posix.join(posix.dirname(index.path), `${from}.ts`);
      const set = names.get(path) ?? new Set();
      names.set(path, set);
      for (const name of (list as string).match(/\*|\w+/g) ?? []) set.add(name);
    }
  }
  return names;
}

/** What a library user can import has a comment that an editor can show. */
export function checkExportDocs(sources: readonly SourceFile[]): Problem[] {
  const names = publicNames(sources);
  return sources
    .filter((s) => isCore(s) && !isGenerated(s.path) && names.has(s.path))
    .flatMap((source) =>
      [...source.code.matchAll(EXPORTED)].flatMap((match) => {
        const shown = names.get(source.path);
        if (!shown?.has("*") && !shown?.has(match[1] as string)) return [];
        const line = lineAt(source.text, match.index ?? 0);
        const above = source.lines[line - 2]?.trim() ?? "";
        if (above.endsWith("*/")) return [];
        return [{ file: source.path, line, message: `${match[1]} is public and has no comment` }];
      }),
    );
}

export function checkGeneratedHeaders(
  sources: readonly SourceFile[],
  exists: (path: string) => boolean,
): Problem[] {
  return sources
    .filter((s) => isGenerated(s.path) || s.path.startsWith("docs/reference/"))
    .flatMap((source) => {
      const generator = /[Gg]enerated (?:from \S+ )?by (tools\/[\w/.-]+\.ts)/.exec(
        source.lines.slice(0, 3).join("\n"),
      )?.[1];
      if (generator === undefined) {
        const message = "its first lines must say `Generated by tools/gen-….ts`";
        return [{ file: source.path, line: 1, message }];
      }
      if (exists(generator)) return [];
      return [{ file: source.path, line: 1, message: `names ${generator}, which does not exist` }];
    });
}

function find(source: SourceFile, pattern: RegExp, inText: string): number[] {
  return [...inText.matchAll(pattern)].map((m) => lineAt(source.text, m.index ?? 0));
}
