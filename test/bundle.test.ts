/** What a command reads at its start: the bundle's chunks, without those loaded on demand. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const BUNDLE = fileURLToPath(new URL("../bundle/", import.meta.url));
const made = existsSync(join(BUNDLE, "main.js"));

const STATIC = /(?:\bfrom|\bimport)\s*"\.\/([^"]+)"/g;
/** A row of the table of commands: its name and the chunk with its code. */
const COMMAND = /\bname:"([a-z][a-z0-9-]*)"[^}]*?\bimport\("\.\/([^"]+)"\)/g;
/** Their sources are YAML always. */
const YAML_COMMANDS: ReadonlySet<string> = new Set(["play"]);
const DYNAMIC = /\bimport\("\.\/([^"]+)"\)/g;

const textOf = (chunk: string): string => readFileSync(join(BUNDLE, chunk), "utf8");
const named = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map((m) => m[1] as string);

/** Chunks that come with one, itself included. */
function startOf(chunk: string, seen = new Set<string>()): Set<string> {
  if (seen.has(chunk)) return seen;
  seen.add(chunk);
  for (const next of named(textOf(chunk), STATIC)) startOf(next, seen);
  return seen;
}

test("no command reads the YAML library before a platform file comes", {
  skip: made ? false : "no bundle (npm run build)",
}, () => {
  const rows = [...textOf("main.js").matchAll(COMMAND)];
  assert.ok(rows.length >= 7, `${rows.length} commands`);
  const commands = rows.flatMap(([, name = "", chunk = ""]) =>
    YAML_COMMANDS.has(name) ? [] : [chunk],
  );
  const holdsYaml = (chunk: string): boolean => textOf(chunk).includes("YAMLMap");
  const onDemand = new Set<string>();
  for (const chunk of [...commands, "main.js"]) {
    for (const part of startOf(chunk)) {
      assert.ok(!holdsYaml(part), `${part} comes with ${chunk}`);
      for (const later of named(textOf(part), DYNAMIC)) onDemand.add(later);
    }
  }
  const later = [...onDemand].flatMap((chunk) => [...startOf(chunk)]);
  assert.ok(later.some(holdsYaml), "and it is there when one comes");
});
