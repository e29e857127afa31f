import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { buildFabric } from "../../src/pcie/index.js";
import { syntheticHost, writeHexDump } from "./synthetic-host.js";

for (const count of [1, 7, 100, 1000, 10_000]) {
  test(`a synthetic host of ${count} functions has exactly that many and no problems`, () => {
    const functions = syntheticHost(count);
    const fabric = buildFabric({ functions });
    assert.equal(fabric.functions.length, count);
    assert.deepEqual(fabric.problems, []);
  });
}

test("a dump has 4096 bytes for each function", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ioasis-dump-"));
  try {
    const file = join(folder, "dump");
    const bytes = await writeHexDump(file, syntheticHost(20));
    const text = await readFile(file, "latin1");
    assert.equal(text.length, bytes);
    assert.equal(text.split("\n\n").length, 21);
    assert.equal(
      text.split("\n").filter((line) => /^[0-9a-f]{2,3}:( [0-9a-f]{2}){16}$/.test(line)).length,
      5120,
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});
