/** The quirk tables against the data file they are made from, and against the data it came from. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type LinuxRuleSet, QUIRKS } from "../src/isolation/index.js";
import { generateQuirks } from "../tools/gen-quirks.js";
import { sharedFolder, skipWithoutShared } from "./support/shared.js";

// dist/test → repository root
const file = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), "utf8");

test("the generated module is what the generator makes", () => {
  const made = generateQuirks(JSON.parse(file("data/pci-quirks.json")));
  assert.equal(made, file("src/isolation/data/pci-quirks.gen.ts"));
});

interface Row {
  readonly vendor: string;
  readonly device: string;
  readonly rule: string;
  readonly versions: readonly string[];
  readonly devfns?: readonly string[];
  readonly subDevice?: string;
}
interface Source {
  readonly acs: readonly Row[];
  readonly dmaAlias: readonly Row[];
  readonly ats: readonly Row[];
  readonly pchRootPorts: readonly Row[];
}

const number = (text: string) => (text === "any" ? -1 : Number(text));
const idOf = (row: Row) => `${number(row.vendor)}/${number(row.device)}`;
const seriesOf = (series: readonly LinuxRuleSet[] | undefined) =>
  (series ?? ["linux-6.1", "linux-6.12", "linux-7.2"]).map((s) => s.slice(6)).join();

function expand(rows: readonly { ids: readonly number[]; rule: string; anyOf?: number }[]) {
  return rows.flatMap((row) => [
    ...row.ids.map((id) => `${Math.floor(id / 65536)}/${id & 0xffff} ${row.rule}`),
    ...(row.anyOf === undefined ? [] : [`${row.anyOf}/-1 ${row.rule}`]),
  ]);
}

test("no row was lost or changed on the way from the source data", {
  skip: skipWithoutShared(),
}, () => {
  const path = join(sharedFolder() ?? "", "data/pci-quirks.json");
  const source = JSON.parse(readFileSync(path, "utf8")) as Source;
  assert.deepEqual(
    expand(QUIRKS.acs),
    source.acs.map((row) => `${idOf(row)} ${row.rule}`),
    "ACS rows, in order",
  );
  const aliases = QUIRKS.aliases.flatMap((row) =>
    expand([row]).map((text) => `${text} ${seriesOf(row.series)} ${row.devfns?.length ?? 0}`),
  );
  assert.deepEqual(
    aliases,
    source.dmaAlias.map(
      (row) => `${idOf(row)} ${row.rule} ${row.versions.join()} ${row.devfns?.length ?? 0}`,
    ),
  );
  assert.deepEqual(
    QUIRKS.pchRootPorts.flatMap((family) => family.devices),
    source.pchRootPorts.map((row) => number(row.device)),
  );
  const single = source.ats.filter((row) => row.device !== undefined && row.device !== "any");
  const listed = new Set(expand(QUIRKS.ats));
  assert.ok(single.every((row) => listed.has(`${idOf(row)} ${row.rule}`)));
});
