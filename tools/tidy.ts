/**
 * The house rules that compiler and linter cannot hold, each with the story behind it.
 *
 * `test/tidy.test.ts` runs them all, one test a rule. A rule takes the repository's text files and
 * returns what breaks it; a message says what to do instead.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { EVIDENCE_KINDS } from "../src/isolation/index.js";
import { ROOT } from "./root.js";
import * as code from "./tidy-code.js";
import * as docs from "./tidy-docs.js";
import * as imports from "./tidy-imports.js";
import { makeSource, type Problem, type SourceFile } from "./tidy-source.js";

export interface TidyRule {
  readonly name: string;
  /** Why the rule exists. */
  readonly story: string;
  readonly check: (sources: readonly SourceFile[]) => Problem[];
}

const onlyCode = (sources: readonly SourceFile[]): SourceFile[] =>
  sources.filter((s) => /\.m?[jt]s$/.test(s.path));

export const RULES: readonly TidyRule[] = [
  {
    name: "only *.io.ts files import Node modules",
    story: "Whoever wonders what reads the disk searches for .io.ts and has the whole list.",
    check: code.checkIoSuffix,
  },
  {
    name: "the core touches no clock, no randomness, no process",
    story: "The same capture gives the same answer, in a browser too; tests need no fakes.",
    check: code.checkCoreGlobals,
  },
  {
    name: `no file is longer than ${code.FILE_LIMIT} lines`,
    story: "One noun per file; what has grown past this holds two.",
    check: code.checkFileLength,
  },
  {
    name: `no line is longer than ${code.LINE_LIMIT} columns`,
    story: "Two files side by side, and the formatter leaves comments and strings alone.",
    check: (sources) => code.checkLineLength(onlyCode(sources)),
  },
  {
    name: "imports go to the own folder or a lower rank",
    story: "The layers are what lets a newcomer read one folder without the others.",
    check: (sources) => imports.checkRanks(onlyCode(sources)),
  },
  {
    name: "there is no import cycle",
    story: "Files in a cycle can only be understood, tested and loaded together.",
    check: (sources) => imports.checkCycles(onlyCode(sources)),
  },
  {
    name: "relative imports end in .js and lead somewhere",
    story: "Node resolves them as written.",
    check: (sources) => imports.checkImportForm(onlyCode(sources)),
  },
  {
    name: "every index.ts says what its folder holds",
    story: "It is the public face of the folder.",
    check: code.checkIndexDocs,
  },
  {
    name: "public functions and classes have a comment",
    story: "Editors show it; it gives shapes, units, ranges and errors.",
    check: code.checkExportDocs,
  },
  {
    name: "only src/units casts to a brand",
    story: "A brand promises that a constructor checked the value.",
    check: code.checkBrandCasts,
  },
  {
    name: "generated files name their generator",
    story: "Whoever wants to change one must know what makes it.",
    check: (sources) => code.checkGeneratedHeaders(sources, (p) => existsSync(join(ROOT, p))),
  },
  {
    name: "every kind of evidence is produced and has a sentence",
    story: "The list of kinds is published; a kind nobody produces is a promise nobody keeps.",
    check: (sources) => docs.checkEvidence(sources, Object.keys(EVIDENCE_KINDS)),
  },
  {
    name: "evidence of every refusal has a sentence",
    story: "Why a call failed is read by people, in ioasis why and in scenarios.",
    check: (sources) => docs.checkRefusals(sources, Object.keys(EVIDENCE_KINDS)),
  },
  {
    name: "every brand is in the glossary",
    story: "A RID, an alias and a PASID are all numbers; what each means is written in one place.",
    check: docs.checkGlossary,
  },
  {
    name: "every guarantee names the test that holds it",
    story: "A promise without a test is a hope.",
    check: docs.checkGuarantees,
  },
  {
    name: "decisions are numbered and complete",
    story: "A decision without its context is repeated, or undone by accident.",
    check: docs.checkDecisions,
  },
  {
    name: "nothing speaks of one machine or of how the work was organised",
    story: "The repository outlives both.",
    check: docs.checkWords,
  },
];

const TOP = [
  ...["src", "schema", "test", "tools", "bench", "bin", "docs", "examples"],
  ...[".ci", ".github"],
];
const TEXT = /\.(?:[mc]?[jt]s|md|ya?ml|sh)$|^\.ci\/run$/;
const SKIPPED = /^test\/fixtures\/|^examples\/captured-machine\/(?!README)|node_modules\//;

/**
 * The repository's own text files; captures, fixtures and built files are not the house's words.
 */
export function readRepository(): SourceFile[] {
  const found: SourceFile[] = [];
  const add = (path: string): void => {
    found.push(makeSource(path, readFileSync(join(ROOT, path), "utf8")));
  };
  for (const top of TOP) {
    if (!existsSync(join(ROOT, top))) continue;
    for (const entry of readdirSync(join(ROOT, top), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath ?? entry.path, entry.name).slice(ROOT.length);
      const posixPath = path.replaceAll("\\", "/");
      if (TEXT.test(posixPath) && !SKIPPED.test(posixPath)) add(posixPath);
    }
  }
  for (const name of readdirSync(ROOT)) if (/\.(?:md)$/.test(name)) add(name);
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** `file:line: message`, at most `limit` of them. */
export function describeProblems(problems: readonly Problem[], limit = 40): string {
  const shown = problems.slice(0, limit).map(({ file, line, message }) => {
    return `${file}${line === undefined ? "" : `:${line}`}: ${message}`;
  });
  if (problems.length > limit) shown.push(`… and ${problems.length - limit} more`);
  return shown.join("\n");
}
