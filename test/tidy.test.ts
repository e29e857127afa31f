/** The house rules hold for this repository, and each of them finds what it is there to find. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { describeProblems, RULES, readRepository } from "../tools/tidy.js";
import * as code from "../tools/tidy-code.js";
import * as docs from "../tools/tidy-docs.js";
import * as imports from "../tools/tidy-imports.js";
import { makeSource, type Problem, type SourceFile } from "../tools/tidy-source.js";

const repository = readRepository();

describe("house rules", () => {
  for (const rule of RULES) {
    test(rule.name, () => {
      const problems = rule.check(repository);
      const text = `${rule.name}. ${rule.story}\n${describeProblems(problems)}`;
      assert.equal(problems.length, 0, text);
    });
  }

  test("the median file of the product has at most 150 lines", () => {
    const median = code.medianLength(repository);
    assert.ok(median <= 150, `the median is ${median}`);
  });
});

/** One file with this text at this path. */
const file = (path: string, text: string): SourceFile[] => [makeSource(path, text)];
const where = (problems: readonly Problem[]): string[] =>
  problems.map((p) => `${p.file}:${p.line ?? ""}`);

describe("the rules find what they are for", () => {
  test("Node modules outside of *.io.ts", () => {
    const text = 'import { readFileSync } from "node:fs";\n';
    assert.deepEqual(where(code.checkIoSuffix(file("src/host/a.ts", text))), ["src/host/a.ts:1"]);
    assert.deepEqual(code.checkIoSuffix(file("src/host/a.io.ts", text)), []);
    assert.deepEqual(code.checkIoSuffix(file("src/host/a.test.ts", text)), []);
  });

  test("globals of Node, clocks and randomness in the core, not in comments or strings", () => {
    const bad = "const a = 1;\nconst b = process.env;\nconst c = Date.now() + Math.random();\n";
    const found = where(code.checkCoreGlobals(file("src/pcie/a.ts", bad)));
    assert.deepEqual(found, ["src/pcie/a.ts:2", "src/pcie/a.ts:3", "src/pcie/a.ts:3"]);
    const good = '// process.env\nconst a = "Date.now()"; /* fetch( */ const r = /console.log/;\n';
    assert.deepEqual(code.checkCoreGlobals(file("src/pcie/a.ts", good)), []);
    const nested =
      "const t = `${a.map((x) => `${x} process.env`)} console.log(`;\nprocess.exit();\n";
    assert.deepEqual(where(code.checkCoreGlobals(file("src/pcie/a.ts", nested))), [
      "src/pcie/a.ts:2",
    ]);
    assert.deepEqual(code.checkCoreGlobals(file("src/cli/a.ts", bad)), []);
  });

  test("long files and long lines, not generated ones", () => {
    const long = "x\n".repeat(code.FILE_LIMIT + 1);
    assert.equal(code.checkFileLength(file("src/a.ts", long)).length, 1);
    assert.equal(code.checkFileLength(file("src/a.gen.ts", long)).length, 0);
    const wide = `ok\n${"y".repeat(code.LINE_LIMIT + 1)}\n`;
    assert.deepEqual(where(code.checkLineLength(file("src/a.ts", wide))), ["src/a.ts:2"]);
    const regex = `const A = /${"y".repeat(code.LINE_LIMIT)}/;\n// ${"z ".repeat(60)}\n`;
    assert.deepEqual(where(code.checkLineLength(file("src/a.ts", regex))), ["src/a.ts:2"]);
  });

  test("imports of a higher rank and of what lies outside", () => {
    const up = 'import { x } from "../view/index.js";\n';
    assert.equal(imports.checkRanks(file("src/pcie/a.ts", up)).length, 1);
    assert.equal(imports.checkRanks(file("src/cli/a.ts", up)).length, 0);
    const io = 'import { x } from "./io/index.js";\n';
    assert.equal(imports.checkRanks(file("src/host/a.ts", io)).length, 1);
    const outside = 'import { x } from "../../test/support/a.js";\n';
    assert.equal(imports.checkRanks(file("src/pcie/a.ts", outside)).length, 1);
    assert.equal(imports.checkRanks(file("src/unheard-of/a.ts", "")).length, 1);
    const comment = '// import { x } from "../view/index.js";\n';
    assert.equal(imports.checkRanks(file("src/pcie/a.ts", comment)).length, 0);
    const lazy = 'const m = await import("../view/index.js");\n';
    assert.equal(imports.checkRanks(file("src/pcie/a.ts", lazy)).length, 1);
    const many = 'import {\n  type A,\n  b,\n} from "../view/index.js";\n';
    assert.equal(imports.checkRanks(file("src/pcie/a.ts", many)).length, 1);
  });

  test("import cycles of two files, of one, and through a third", () => {
    const edges = { a: ["b"], b: ["c"], c: ["a"], d: ["d"], e: ["a"] };
    const cycles = imports.findCycles(new Map(Object.entries(edges)));
    assert.deepEqual(cycles.map((c) => c.slice(0, -1).sort().join("")).sort(), ["abc", "d"]);
    const pair = [
      makeSource("src/units/a.ts", 'import { b } from "./b.js";\n'),
      makeSource("src/units/b.ts", 'export * from "./a.js";\n'),
    ];
    assert.equal(imports.checkCycles(pair).length, 1);
  });

  test("relative imports without .js, or of a file that does not exist", () => {
    const bare = 'import { b } from "./b";\n';
    assert.match(
      imports.checkImportForm(file("src/a.ts", bare))[0]?.message ?? "",
      /must end in .js/,
    );
    const gone = 'import { b } from "./b.js";\n';
    assert.match(
      imports.checkImportForm(file("src/a.ts", gone))[0]?.message ?? "",
      /does not exist/,
    );
  });

  test("casts to a brand outside of src/units", () => {
    const units = makeSource("src/units/a.ts", 'export type Rid = Brand<number, "Rid">;\n');
    const bad = makeSource("src/pcie/a.ts", "const r = 5 as Rid;\nconst s = list[0] as Rid;\n");
    assert.deepEqual(where(code.checkBrandCasts([units, bad])), ["src/pcie/a.ts:1"]);
  });

  test("public things and folders without a comment", () => {
    const text = "/** One. */\nexport function one() {}\nexport class Two {}\n";
    const sample = makeSource("src/pcie/a.ts", text);
    const all = makeSource("src/pcie/index.ts", '/** Index. */\nexport * from "./a.js";\n');
    const some = makeSource("src/pcie/index.ts", '/** Index. */\nexport { one } from "./a.js";\n');
    assert.deepEqual(where(code.checkExportDocs([sample, all])), ["src/pcie/a.ts:3"]);
    assert.deepEqual(code.checkExportDocs([sample, some]), []);
    assert.deepEqual(code.checkExportDocs([sample]), []);
    assert.equal(code.checkIndexDocs(file("src/pcie/index.ts", "export {};\n")).length, 1);
  });

  test("generated files without a header, or naming a generator that is gone", () => {
    const check = (text: string, exists: boolean): number =>
      code.checkGeneratedHeaders(file("src/a.gen.ts", text), () => exists).length;
    assert.equal(check("export {};\n", true), 1);
    assert.equal(check("// Generated by tools/gen-a.ts. Do not edit.\n", true), 0);
    assert.equal(check("// Generated by tools/gen-a.ts. Do not edit.\n", false), 1);
  });

  test("evidence kinds without a sentence or a producer", () => {
    const view = makeSource("src/view/evidence-text.ts", 'const S = {\n  "a-b": 1,\n  c: 2,\n};\n');
    const maker = makeSource("src/isolation/x.ts", 'make("a-b"); make("d");\n');
    const found = docs.checkEvidence([view, maker], ["a-b", "c", "d"]).map((p) => p.message);
    assert.equal(found.length, 2);
    assert.match(found[0] ?? "", /"c" is produced nowhere/);
    assert.match(found[1] ?? "", /"d" has no sentence/);
  });

  test("evidence of refusals without a sentence", () => {
    const view = makeSource(
      "src/view/refusal-sentences.ts",
      'const S = {\n  "a-b": ({ at }) => at,\n  c: ({ at }) => at,\n};\n',
    );
    const maker = makeSource(
      "src/door/x.ts",
      'evidence: [{ kind: "a-b" }];\nconst evidence = [{ kind: "d" }];\n' +
        'evidence: all.map((at) => ({ kind: "e", at }));\nlet x = { kind: "f" };\n' +
        'evidence: [{ kind: "c" }, { kind: "g" }];\n',
    );
    const found = docs.checkRefusals([view, maker], ["g"]).map((p) => p.message.slice(0, 8));
    assert.deepEqual(found, ['kind "d"', 'kind "e"']);
  });

  test("brands missing in the glossary", () => {
    const units = makeSource("src/units/a.ts", 'export type Rid = Brand<number, "Rid">;\n');
    const without = makeSource("docs/glossary.md", "| **PASID** | `Pasid` |\n");
    const having = makeSource("docs/glossary.md", "| **RID** | `Rid` |\n");
    assert.equal(docs.checkGlossary([units, without]).length, 1);
    assert.equal(docs.checkGlossary([units, having]).length, 0);
    assert.equal(docs.checkGlossary([units]).length, 1);
  });

  test("decisions with a gap, a wrong title or a missing part", () => {
    const good =
      "# 0001. A\n\nStatus: accepted, 2026-01-01\n\n## Context\n## Decision\n## Consequences\n";
    const one = makeSource("docs/decisions/0001-a.md", good);
    assert.deepEqual(docs.checkDecisions([one]), []);
    const gap = makeSource("docs/decisions/0003-c.md", good.replace("0001", "0003"));
    assert.match(describeProblems(docs.checkDecisions([one, gap])), /without gaps/);
    const bad = makeSource("docs/decisions/0001-a.md", "# A\n");
    assert.equal(docs.checkDecisions([bad]).length, 5);
    const name = makeSource("docs/decisions/why.md", good);
    assert.equal(docs.checkDecisions([name]).length, 1);
  });

  test("guarantees that name no test, or one that is gone", () => {
    const page = (row: string) =>
      makeSource("docs/guarantees.md", `| promise | held by |\n${row}\n`);
    const held = makeSource("test/a.test.ts", 'test("it holds", () => {});\n');
    const check = (row: string) => docs.checkGuarantees([page(row), held]).length;
    assert.equal(check('| it | [test/a.test.ts](../test/a.test.ts): "it holds" |'), 0);
    assert.equal(check('| it | [test/a.test.ts](../test/a.test.ts): "it breaks" |'), 1);
    assert.equal(check('| it | [test/b.test.ts](../test/b.test.ts): "it holds" |'), 1);
    assert.equal(check("| it | believe me |"), 1);
  });

  test("words and paths that have no place here", () => {
    const lines = [
      "see /work/main/x",
      "as the last session left it",
      "TODO later",
      "issue #5 asks",
    ];
    const bad = file("docs/a.md", lines.join("\n").replace("last session", "that session"));
    assert.equal(docs.checkWords(bad).length, 4);
    const good = "the translation agent answers; /sys/bus/pci/devices; an issue with the switch\n";
    assert.deepEqual(docs.checkWords(file("docs/a.md", good)), []);
  });
});
