/** Every function of libc is classified, and the library has exactly those that say wrapped. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { functionsOf, parseSymbolRules, SymbolTable } from "../../tools/libc-symbols.js";
import { buildLibrary, ROOT, whyNoClient } from "./toolchain.js";

const skip = whyNoClient() ?? false;
const rules = parseSymbolRules(readFileSync(join(ROOT, "client", "symbols.txt"), "utf8"));
const table = new SymbolTable(rules);

function functionsIn(path: string): ReadonlySet<string> {
  const args = ["-D", "--defined-only", "--with-symbol-versions", path];
  return functionsOf(execFileSync("nm", args, { encoding: "utf8", maxBuffer: 1 << 24 }));
}

/** libc and what was once apart from it, as the dynamic loader finds them. */
function libraries(): readonly string[] {
  const listed = execFileSync("/sbin/ldconfig", ["-p"], { encoding: "utf8" });
  const wanted =
    /^\s*(libc|libpthread|libdl|librt|libutil|libanl)\.so\.\d+ \([^)]*(?:x86-64|AArch64)[^)]*\) => (\S+)/gm;
  return [...listed.matchAll(wanted)].map((match) => match[2] ?? "").filter(existsSync);
}

test("names are classified once", () => {
  const seen = new Set<string>();
  for (const { name } of rules) {
    assert.ok(!seen.has(name), `${name} is classified twice`);
    seen.add(name);
  }
});

test("an exact name counts before a pattern, a longer pattern before a shorter", () => {
  const small = new SymbolTable(
    parseSymbolRules("none: a\n  is*\nharmless: b\n  isat* isfdtype\nlimit: c\n  isatty\n"),
  );
  assert.equal(small.ruleOf("isalpha")?.class, "none");
  assert.equal(small.ruleOf("isatx")?.class, "harmless");
  assert.equal(small.ruleOf("isatty")?.class, "limit");
  assert.equal(small.ruleOf("open"), undefined);
  assert.throws(() => parseSymbolRules("  open\n"), /line 1: names before a class/);
  assert.throws(() => parseSymbolRules("open\n"), /line 1: not a class and a reason/);
});

test("every function of this machine's libc is classified", { skip }, () => {
  const found = libraries();
  assert.ok(found.length > 0, "no libc found");
  const unclassified: string[] = [];
  for (const path of found) {
    for (const name of functionsIn(path)) {
      if (table.ruleOf(name) === undefined) unclassified.push(name);
    }
  }
  assert.deepEqual(unclassified, []);
});

test("the library has the functions that are said to be wrapped, and no others", { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), "ioasis-symbols-"));
  try {
    const exported = [...functionsIn(buildLibrary(directory))].sort();
    assert.deepEqual(exported, [...table.wrapped()].sort());
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
