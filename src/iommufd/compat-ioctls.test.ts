/** Calls of a VFIO container on an iommufd, through bytes: Linux vfio_compat.c. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ERRNO } from "../../src/abi/index.js";
import type { Trap } from "../../src/iommufd/index.js";
import { FakeFile } from "../../test/support/fake-call.js";
import { Program, sized, struct, u32At, u64At } from "../../test/support/iommufd-file.js";

const API = 0x3b64;
const EXTENSION = 0x3b65;
const SET_IOMMU = 0x3b66;
const INFO = 0x3b70;
const MAP = 0x3b71;
const UNMAP = 0x3b72;

/** With a compatibility space. */
function start(options: ConstructorParameters<typeof Program>[0] = {}) {
  const p = new Program(options);
  const ioas = p.file.iommufd.vfio.ensureIoas();
  const value = (command: number, argument: bigint) => p.call.ioctl(p.file, command, argument);
  return { p, ioas, value };
}

const map = (flags: number, va: bigint, iova: bigint, size: bigint) => sized(flags, va, iova, size);
const unmap = (flags: number, iova: bigint, size: bigint) => sized(flags, iova, size);

describe("a container's calls without a struct", () => {
  it("answer as a container does", () => {
    const { p, value } = start();
    assert.equal(value(API, 0n), 0);
    const known = [1n, 3n, 9n, 4n];
    for (let i = 0n; i < 16n; i++) {
      // The mock IOMMU forces nothing, but no page table is there to say so.
      assert.equal(value(EXTENSION, i), known.includes(i) ? 1 : 0, `extension ${i}`);
    }
    assert.equal(value(EXTENSION, 2n ** 32n + 1n), 0);
    assert.equal(value(SET_IOMMU, 2n), -ERRNO.EINVAL);
    assert.equal(value(SET_IOMMU, 3n), 0);
    assert.equal(value(SET_IOMMU, 1n), 0);
    assert.equal(p.file.iommufd.vfio.ioas.space.largePages, false);
    assert.equal(value(0x3b75, 0n), -ERRNO.ENOTTY);
    assert.equal(value(0x3b73, 0n), -ERRNO.ENOTTY);
  });

  it("need a space where they ask about one", () => {
    const p = new Program();
    assert.equal(p.call.ioctl(p.file, EXTENSION, 4n), -ERRNO.ENODEV);
    assert.equal(p.call.ioctl(p.file, SET_IOMMU, 3n), -ERRNO.ENODEV);
    assert.equal(p.call.ioctl(p.file, SET_IOMMU, 2n), -ERRNO.EINVAL);
    assert.equal(p.call.ioctl(p.file, MAP, 0n), -ERRNO.EFAULT);
    const short = map(3, 0n, 0n, 4096n);
    short[0] = 31;
    p.refused("EINVAL", MAP, short);
    p.refused("EINVAL", MAP, map(4, 0n, 0n, 4096n));
    p.refused("ENODEV", MAP, map(3, 0n, 0n, 4096n));
    p.refused("EINVAL", UNMAP, unmap(1, 0n, 4096n));
    p.refused("ENODEV", UNMAP, unmap(0, 0n, 4096n));
    p.refused("EINVAL", INFO, struct(15, 0, 0n));
    p.refused("ENODEV", INFO, struct(16, 0, 0n));
  });
});

describe("VFIO_IOMMU_GET_INFO", () => {
  /** @returns the struct with `argsz` bytes of room. */
  function ask(p: Program, argsz: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(argsz, 16)).fill(0xee);
    new DataView(bytes.buffer).setUint32(0, argsz, true);
    return p.ok(INFO, bytes);
  }

  it("writes what fits whole, and says what all needs", () => {
    const { p } = start();
    const total = 24 + 16 + 16 + 16;
    const whole = ask(p, total);
    assert.deepEqual([u32At(whole, 0), u32At(whole, 4), u32At(whole, 16)], [total, 3, 24]);
    assert.equal(u64At(whole, 8), 2n ** 64n - 4096n);
    assert.deepEqual(
      [u32At(whole, 24), u32At(whole, 28), u32At(whole, 32)],
      [0x10003, 40, 2 ** 32 - 1],
    );
    assert.deepEqual([u32At(whole, 40), u32At(whole, 44), u32At(whole, 48)], [0x10001, 0, 1]);
    assert.deepEqual([u64At(whole, 56), u64At(whole, 64)], [0n, 2n ** 64n - 1n]);
    for (let argsz = 16; argsz < total; argsz++) {
      const out = ask(p, argsz);
      assert.equal(u32At(out, 0), total);
      if (argsz >= 20) assert.equal(u32At(out, 16), 0);
      if (argsz >= 36) {
        assert.deepEqual([u32At(out, 24), u32At(out, 28)], [0x10003, argsz >= 40 ? 40 : 0]);
      } else if (argsz > 24) assert.ok(out.subarray(24).every((b) => b === 0xee));
      if (argsz >= 36) assert.ok(out.subarray(36).every((b) => b === 0xee));
    }
  });

  it("writes the ranges that fit, and their number with the last", () => {
    const { p, ioas } = start();
    p.file.iommufd.ioasReserve(ioas, { first: 0x1000n, last: 0x1fffn });
    const out = ask(p, 24 + 16 + 16 + 16);
    assert.deepEqual([u32At(out, 0), u32At(out, 16), u32At(out, 28)], [88, 0, 40]);
    assert.ok(out.subarray(40, 56).every((b) => b === 0xee));
    assert.deepEqual([u64At(out, 56), u64At(out, 64)], [0n, 0xfffn]);
  });

  it("says which pages all page tables have", () => {
    const { p, ioas } = start();
    p.ok(0x3b89, sized(0, p.bind(), ioas, 0, 0, 0, 0, 0n, 0, 0));
    const sizes = u64At(ask(p, 24), 8);
    assert.equal(sizes & 0xfffn, 0n);
    assert.equal(sizes & 0x1000n, 0x1000n);
  });
});

describe("VFIO_IOMMU_MAP_DMA and UNMAP_DMA", () => {
  it("map at a fixed address, and write back what was removed, also on error", () => {
    const { p, ioas } = start();
    const va = p.process.memory.allocPages(4);
    p.ok(MAP, map(3, va, 0x100000n, 8192n));
    p.ok(MAP, map(3, va, 0x102000n, 8192n));
    p.refused("EEXIST", MAP, map(3, va, 0x101000n, 4096n));
    p.refused("EINVAL", UNMAP, unmap(2, 1n, 0n));
    for (const [code, iova, size] of [
      ["EINVAL", 0x100000n, 0n],
      ["EOVERFLOW", 2n ** 64n - 4096n, 8192n],
    ] as const) {
      const bytes = unmap(0, iova, size);
      assert.equal(p.ioctl(UNMAP, bytes), -ERRNO[code]);
      assert.equal(u64At(bytes, 16), 0n);
    }
    p.refused("EOVERFLOW", MAP, map(3, va, 2n ** 64n - 4096n, 8192n));
    const part = unmap(0, 0x100000n, 12288n);
    assert.equal(p.ioctl(UNMAP, part), -ERRNO.ENOENT);
    assert.equal(u64At(part, 16), 8192n);
    assert.equal(u64At(p.ok(UNMAP, unmap(0, 0n, 4096n)), 16), 0n);
    assert.equal(u64At(p.ok(UNMAP, unmap(2, 0n, 0n)), 16), 8192n);
    assert.equal(p.file.iommufd.ioas(ioas).space.areas.size, 0);
  });

  it("cuts mappings where the space has no large pages", () => {
    const { p, value } = start();
    const va = p.process.memory.allocPages(4);
    assert.equal(value(SET_IOMMU, 1n), 0);
    p.ok(MAP, map(3, va, 0x100000n, 16384n));
    assert.equal(u64At(p.ok(UNMAP, unmap(0, 0x101000n, 4096n)), 16), 4096n);
    p.refused("EINVAL", UNMAP, unmap(0, 0x102800n, 4096n));
    assert.equal(u64At(p.ok(UNMAP, unmap(0, 0x800800n, 100n)), 16), 0n);
    assert.equal(u64At(p.ok(UNMAP, unmap(0, 0n, 0x200000n)), 16), 12288n);
  });

  it("map without permissions as long as no page table shows it", () => {
    const { p, ioas } = start();
    const va = p.process.memory.allocPages(1);
    p.ok(MAP, map(0, va, 0x2000000n, 4096n));
    const alloc = sized(0, p.bind(), ioas, 0, 0, 0, 0, 0n, 0, 0);
    p.refused("EINVAL", 0x3b89, alloc);
    p.ok(UNMAP, unmap(2, 0n, 0n));
    p.ok(0x3b89, alloc);
    p.refused("EINVAL", MAP, map(0, va, 0x2000000n, 4096n));
    p.ok(MAP, map(2, va, 0x2000000n, 4096n));
  });

  it("are watched by a strict context", () => {
    const traps: Trap[] = [];
    const { p } = start({ ports: { strict: true, onTrap: (t) => traps.push(t) } });
    const va = p.process.memory.allocPages(2);
    p.ok(MAP, map(3, va, 0x100000n, 4096n));
    p.refused("EEXIST", MAP, map(3, va, 0x100000n, 4096n));
    p.ok(UNMAP, unmap(0, 0x200000n, 4096n));
    p.ok(UNMAP, unmap(0, 0x100000n, 8192n));
    p.ok(UNMAP, unmap(2, 0n, 0n));
    assert.deepEqual(
      traps.map(({ kind, done }) => [kind, done]),
      [
        ["mapped-already", undefined],
        ["unmap-of-nothing", 0n],
        ["unmap-shorter", 4096n],
      ],
    );
    assert.deepEqual([traps[0]?.pid, traps[0]?.call], [1, "VFIO_IOMMU_MAP_DMA"]);
  });

  it("keep a memory file's area from being cut no more than others", () => {
    const { p, ioas, value } = start();
    assert.equal(value(SET_IOMMU, 1n), 0);
    const file = new FakeFile(8192);
    const fd = p.process.install(file);
    p.ok(0x3b8f, sized(7, ioas, fd, 0n, 8192n, 0x100000n));
    p.ok(UNMAP, unmap(0, 0x100000n, 4096n));
    assert.equal(file.kept, 1);
    p.ok(UNMAP, unmap(2, 0n, 0n));
    assert.equal(file.kept, 0);
  });
});
