/** MSI: which message is sent, and when. PCIe 6 § 7.7.1. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigRegisters, ConfigSpaceBuilder } from "../pcie/index.js";
import { MsiSender, PlainBar } from "./index.js";

const AT = 0x50;

/** Four vectors, 64-bit addresses, masks. */
function sender() {
  const config = new ConfigSpaceBuilder().set16(6, 0x10).set8(0x34, AT);
  config.set8(AT, 5).set16(AT + 2, 0x0180 | (2 << 1));
  const registers = new ConfigRegisters(config.buildComplete(256));
  registers.write(AT + 4, 4, 0xfee0_1018);
  registers.write(AT + 8, 4, 1);
  registers.write(AT + 12, 2, 0x4003);
  return { registers, msi: new MsiSender(registers, AT) };
}

test("low bits of the data are the vector, as far as vectors are allotted", () => {
  const { registers, msi } = sender();
  msi.raise(2);
  assert.equal(msi.take(), undefined, "it is off");
  registers.write(AT + 2, 2, 1);
  assert.deepEqual(
    msi.take(),
    { address: 0x1_fee0_1018n, data: 0x4003 },
    "one vector: as it stands",
  );
  registers.write(AT + 2, 2, 1 | (2 << 4));
  msi.raise(6);
  assert.deepEqual(msi.take(), { address: 0x1_fee0_1018n, data: 0x4002 });
  assert.equal(msi.take(), undefined);
});

test("a masked vector is sent once when its mask falls", () => {
  const { registers, msi } = sender();
  registers.write(AT + 2, 2, 1 | (2 << 4));
  registers.write(AT + 16, 4, 0b10);
  msi.raise(1);
  msi.raise(1);
  assert.equal(msi.take(), undefined);
  registers.write(AT + 16, 4, 0);
  assert.equal(msi.take()?.data, 0x4001);
  assert.equal(msi.take(), undefined);
});

test("a BAR of memory keeps its bytes when it moves to memory that is shared", () => {
  const bar = new PlainBar();
  bar.write(4096, Uint8Array.of(1, 2));
  const memory = new Uint8Array(8192);
  bar.back(memory);
  assert.deepEqual([...memory.subarray(4096, 4099)], [1, 2, 0]);
  bar.write(4098, Uint8Array.of(3));
  memory[4099] = 4;
  assert.deepEqual([...bar.read(4096, 4)], [1, 2, 3, 4]);
});
