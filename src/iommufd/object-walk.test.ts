/**
 * Random calls under both rule sets, safety rules checked after each. CAMPAIGN_STEPS and
 * CAMPAIGN_SEED change how many and which.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ObjectWalk } from "../../test/support/object-walk.js";

const SEED = 41;
const STEPS = 10_000;
const WALK = 1000;

for (const rules of ["device-centric", "linux-7.2"] as const) {
  describe(`random calls under ${rules}`, () => {
    it(`keep every safety rule over ${STEPS} steps from seed ${SEED}`, () => {
      let done = 0;
      const codes = new Set<string>();
      for (let at = 0; at < STEPS; at += WALK) {
        const seed = SEED + at;
        const walk = new ObjectWalk(seed, rules);
        const result = walk.run(WALK, `seed ${seed} rules ${rules}`);
        walk.close();
        done += result.done;
        for (const code of result.refused.keys()) codes.add(code);
      }
      assert.ok(done > STEPS / 4, `${done} calls did something`);
      for (const code of ["EPERM", "EINVAL", "EBUSY", "ENOENT", "EEXIST", "EADDRINUSE"]) {
        assert.ok(codes.has(code), `${code} was met`);
      }
    });
  });
}
