/**
 * Random test commands: whatever a program passes, it gets a result or an errno, and closing
 * everything leaves nothing.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../../test/support/random.js";
import { BYTES, IOVA, PAGE, TestProgram } from "../../../test/support/test-program.js";
import * as abi from "../../abi/index.js";

const SEED = 20_261_124;
const CALLS = 4000;

/** Numbers that are likely to mean something, or to break something. */
function interesting(random: Random, program: TestProgram, va: bigint): bigint {
  const wild = [
    0n,
    1n,
    2048n,
    PAGE,
    2n * PAGE,
    0x7fffffffn,
    0xffffffffn,
    2n ** 64n - 1n,
    2n ** 63n,
  ];
  const known = [IOVA, IOVA + PAGE, va, va + PAGE, BigInt(program.ioas)];
  const small = BigInt(random.below(12));
  return random.pick([...wild, ...known, small, small, small]);
}

for (const kernel of ["7.2", "6.12"] as const) {
  test(`random test commands of ${kernel}, seed ${SEED}`, () => {
    const random = new Random(SEED);
    const program = new TestProgram({ kernel });
    const { process, call, file } = program;
    process.install(file);
    const va = program.map(4);
    const results = new Map<number, number>();
    for (let i = 0; i < CALLS; i++) {
      const address = va + PAGE * 3n;
      const view = new DataView(process.memory.at(address, BYTES).slice().buffer);
      const last = kernel === "7.2" ? 25 : 17;
      for (let at = 8; at < BYTES; at += 4) {
        const value = interesting(random, program, va);
        view.setUint32(at, Number(BigInt.asUintN(32, value)), true);
        // A 64-bit field now and then.
        if (at % 8 === 0 && at + 8 <= BYTES && random.below(2) === 0) {
          view.setBigUint64(at, value, true);
          at += 4;
        }
      }
      view.setUint32(0, BYTES, true);
      view.setUint32(4, random.below(last), true);
      process.memory.at(address, BYTES).set(new Uint8Array(view.buffer));
      const result = call.ioctl(file, abi.IOMMU_TEST_CMD, address);
      results.set(Math.min(result, 0), (results.get(Math.min(result, 0)) ?? 0) + 1);
      if (random.below(10) === 0) {
        const given = process.memory.at(address, 8);
        new DataView(given.buffer, given.byteOffset).setUint32(0, 8, true);
        new DataView(given.buffer, given.byteOffset).setUint32(4, 1 + random.below(12), true);
        call.ioctl(file, abi.IOMMU_DESTROY, address);
      }
    }
    assert.ok((results.get(0) ?? 0) > CALLS / 40, `${results.get(0)} calls did something`);
    assert.ok(results.size > 6, `${results.size} different refusals`);
    for (const fd of [...process.descriptors.keys()]) process.close(fd);
    assert.equal(program.system.deviceCount, 0);
    assert.equal(process.memory.pins.size, 0);
  });
}
