import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type KeptWalk, replayWalk, type WalkKind, WireWalk } from "./support/wire-walk.js";

const KINDS: readonly WalkKind[] = ["device-centric", "linux-7.2", "selftest"];
const SEED = 4711;

describe("random calls of programs", () => {
  for (const kind of KINDS) {
    test(`${kind}: 800 calls keep the safety rules, and nothing is left (seed ${SEED})`, () => {
      const walk = new WireWalk(SEED, kind);
      walk.run(800, `seed ${SEED}, ${kind},`);
      assert.ok((walk.endings.get("ok") ?? 0) > 50);
      walk.close();
    });
  }

  test("a kept walk runs again, and its steps end as they did", () => {
    const walk = new WireWalk(SEED, "device-centric");
    walk.run(200, "first");
    const { steps, kind } = walk;
    const folder = mkdtempSync(join(tmpdir(), "ioasis-replay-"));
    try {
      const file = join(folder, "calls.json");
      const kept: KeptWalk = { kind, why: "a test", steps };
      writeFileSync(file, JSON.stringify(kept));
      assert.deepEqual([...replayWalk(file).endings].sort(), [...walk.endings].sort());
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
