/** The published JSON Schema and the reader accept exactly the same shapes. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { parse } from "yaml";
import { noLines } from "./line-map.js";
import { Problems } from "./platform-error.js";
import { platformJsonSchema, platformShape } from "./platform-shape.js";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");
const SEED = 11;
const published = JSON.parse(readFileSync(join(ROOT, "schemas/platform.schema.json"), "utf8"));
const validate = new Ajv2020({ strict: true, strictTypes: false }).compile(published);

function readerAccepts(value: unknown): boolean {
  const problems = new Problems(noLines());
  platformShape.read(value, [], problems);
  return problems.count === 0;
}

test("the published schema is the one that the shapes make", () => {
  assert.deepEqual(published, JSON.parse(JSON.stringify(platformJsonSchema())));
});

const folder = join(ROOT, "examples/platforms");
const examples = readdirSync(folder)
  .filter((name) => name.endsWith(".yaml"))
  // A plain 01.0 is text in platform files; see platform-file.io.ts.
  .map((name) =>
    parse(readFileSync(join(folder, name), "utf8").replace(/at: ([\w.]+)/g, 'at: "$1"')),
  );

test("the schema accepts the examples", () => {
  for (const example of examples) assert.ok(validate(example), JSON.stringify(validate.errors));
});

/** Values that are right somewhere, or nearly right. */
const interesting = fc.constantFrom<unknown>(
  null,
  true,
  false,
  0,
  1,
  3,
  4,
  7,
  255,
  256,
  65_535,
  65_536,
  -1,
  1.5,
  2 ** 53,
  "",
  "full",
  "none",
  "closed",
  "unassigned",
  "all",
  "intel",
  "SV",
  "0x10",
  "0xfffff",
  "0xg",
  "16K",
  "0K",
  "1c.0",
  "20.0",
  "8086:1592",
  "0200",
  "a-name",
  "9name",
  "two\nlines",
  "x".repeat(201),
  "root-port",
  [],
  ["SV", "RR"],
  [1, 2],
  {},
  { size: "1M" },
  { width: 20 },
  { enabled: true },
  { first: 0, last: 1 },
  { kind: "endpoint" },
  { kind: "endpoint", below: [{ kind: "endpoint" }] },
  { devices: [] },
);
const keys = fc.constantFrom(
  "acs",
  "ats",
  "at",
  "base",
  "below",
  "bus",
  "class",
  "covers",
  "driver",
  "x-note",
  "extra",
  "kind",
  "name",
  "pasid",
  "segment",
  "size",
  "sriov",
  "windows",
);

type Holder = Record<string, unknown> | unknown[];

/** All objects and lists inside, the value itself included. */
function holders(value: unknown, out: Holder[] = []): Holder[] {
  if (typeof value !== "object" || value === null) return out;
  out.push(value as Holder);
  for (const inner of Object.values(value)) holders(inner, out);
  return out;
}

const mutation = fc.record({
  where: fc.nat(),
  slot: fc.nat(),
  how: fc.constantFrom("replace", "replace", "remove", "add"),
  value: interesting,
  key: keys,
});

function mutate(
  value: unknown,
  m: { where: number; slot: number; how: string; value: unknown; key: string },
) {
  const all = holders(value);
  const holder = all[m.where % Math.max(all.length, 1)];
  if (holder === undefined) return;
  const names = Object.keys(holder);
  const name = names[m.slot % Math.max(names.length, 1)];
  if (m.how === "add") {
    if (Array.isArray(holder)) holder.push(structuredClone(m.value));
    else holder[m.key] = structuredClone(m.value);
  } else if (name === undefined) return;
  else if (m.how === "replace") Object.assign(holder, { [name]: structuredClone(m.value) });
  else if (Array.isArray(holder)) holder.splice(Number(name), 1);
  else delete holder[name];
}

test("schema and reader agree on mutated platforms", () => {
  const seen = { valid: 0, invalid: 0 };
  const property = fc.property(
    fc.constantFrom(...examples),
    fc.array(mutation, { minLength: 1, maxLength: 3 }),
    (example, mutations) => {
      const value = structuredClone(example);
      for (const m of mutations) mutate(value, m);
      const bySchema = validate(value);
      seen[bySchema ? "valid" : "invalid"]++;
      assert.equal(readerAccepts(value), bySchema, JSON.stringify(validate.errors));
    },
  );
  fc.assert(property, { seed: SEED, numRuns: 3000 });
  console.log("seed", SEED, seen);
  assert.ok(seen.valid > 100 && seen.invalid > 100);
});

test("schema and reader agree on arbitrary values", () => {
  fc.assert(
    fc.property(fc.oneof(interesting, fc.jsonValue()), (value) => {
      assert.equal(readerAccepts(value), validate(value));
    }),
    { seed: SEED, numRuns: 500 },
  );
});
