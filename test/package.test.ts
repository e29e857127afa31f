/** package.json says what is true: exports, dependencies and their decision record. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { readRepository } from "../tools/tidy.js";
import { importsOf } from "../tools/tidy-imports.js";
import { isTest } from "../tools/tidy-source.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly types: string }>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly files: readonly string[];
}
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Manifest;

/** Layers with a public face; the command is reached as `bin`, not imported. */
function publicFolders(): string[] {
  return readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => /^[a-z]+(?:\/io)?\/index\.ts$/.test(path))
    .map((path) => path.replace(/\/index\.ts$/, ""));
}

test("every layer is exported, with types, and nothing else is", () => {
  const exported = Object.keys(manifest.exports)
    .filter((key) => !key.includes("*") && key !== "./package.json")
    .map((key) => key.slice(2));
  assert.deepEqual(exported.sort(), publicFolders().sort());
  for (const [key, target] of Object.entries(manifest.exports)) {
    if (typeof target === "string") continue;
    assert.ok(existsSync(join(ROOT, target.types)), `${key} has no ${target.types}`);
  }
});

test("each dependency is imported by the product, and what the product imports is a dependency", () => {
  const imported = new Set<string>();
  for (const source of readRepository()) {
    if (!source.path.startsWith("src/") || isTest(source.path)) continue;
    for (const { specifier } of importsOf(source)) {
      if (!specifier.startsWith(".") && !specifier.startsWith("node:")) imported.add(specifier);
    }
  }
  assert.deepEqual([...imported].sort(), Object.keys(manifest.dependencies).sort());
});

test("each dependency has a row in the decision about libraries", () => {
  const record = readFileSync(join(ROOT, "docs/decisions/0004-libraries.md"), "utf8");
  const all = [...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies)];
  const rows = record.split("\n").filter((line) => line.startsWith("| "));
  const missing = all.filter((name) => !rows.some((row) => row.includes(name)));
  assert.deepEqual(missing, []);
});

test("the licence, the changelog and the schemas are packed", () => {
  for (const name of ["LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "schemas", "data"]) {
    assert.ok(manifest.files.includes(name), name);
  }
});
