/** MAP, MAP_FILE, COPY, UNMAP: results and errno of the kernel's interface. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { refused, TestMemory, TestProcess, TestSystem } from "../../test/support/iommufd.js";
import { MapFlag, U64_MAX } from "./index.js";

const RW = MapFlag.readable | MapFlag.writeable;
const FIXED = RW | MapFlag.fixedIova;
const PAGE = 4096n;

function open() {
  const system = new TestSystem();
  const caller = new TestProcess();
  const fd = system.open(caller);
  return { system, caller, fd, ioasId: fd.ioasAlloc() };
}

describe("IOMMU_IOAS_MAP", () => {
  it("maps at a fixed address and refuses another mapping there", () => {
    const { fd, ioasId } = open();
    const args = { ioasId, flags: FIXED, userVa: 0x10000n, length: 2n * PAGE, iova: 0x40000n };
    assert.equal(fd.ioasMap(args), 0x40000n);
    refused(() => fd.ioasMap({ ...args, iova: 0x41000n }), "EEXIST");
    refused(() => fd.ioasMap({ ...args, iova: 0x3f000n }), "EEXIST");
    assert.equal(fd.ioasMap({ ...args, iova: 0x42000n }), 0x42000n);
    assert.equal(fd.ioasMap({ ...args, iova: 0x3e000n }), 0x3e000n);
  });

  it("refuses in the kernel's order", () => {
    const { fd, ioasId } = open();
    const good = { ioasId, flags: FIXED, userVa: 0x10000n, length: PAGE, iova: 0x40000n };
    refused(() => fd.ioasMap({ ...good, flags: 8 | FIXED, length: U64_MAX }), "EOPNOTSUPP");
    refused(() => fd.ioasMap({ ...good, flags: 0, length: U64_MAX }), "EOVERFLOW");
    refused(() => fd.ioasMap({ ...good, flags: RW, iova: U64_MAX }), "EOVERFLOW");
    refused(() => fd.ioasMap({ ...good, flags: MapFlag.fixedIova, ioasId: 99 }), "EINVAL");
    refused(() => fd.ioasMap({ ...good, ioasId: 99, length: 0n }), "ENOENT");
    refused(() => fd.ioasMap({ ...good, userVa: U64_MAX, length: 2n }), "EOVERFLOW");
    refused(() => fd.ioasMap({ ...good, length: 0n }), "EINVAL");
    refused(() => fd.ioasMap({ ...good, userVa: 0n, length: U64_MAX - 100n }), "EINVAL");
    refused(() => fd.ioasMap({ ...good, iova: U64_MAX - 0xffn }), "EOVERFLOW");
    fd.setHugePages(ioasId, 0n);
    refused(() => fd.ioasMap({ ...good, length: 2048n }), "EINVAL");
    refused(() => fd.ioasMap({ ...good, iova: 0x40800n }), "EINVAL");
    refused(() => fd.ioasMap({ ...good, userVa: 0x10800n }), "EINVAL");
    refused(() => fd.ioasMap({ ...good, flags: RW, userVa: 0x10800n }), "EINVAL");
    assert.equal(fd.lastFailure?.code, "EINVAL");
  });

  it("refuses reserved addresses, and no room", () => {
    const { fd, ioasId } = open();
    fd.ioasReserve(ioasId, { first: 0x50000n, last: 0x5ffffn });
    const args = { ioasId, flags: FIXED, userVa: 0x10000n, length: PAGE, iova: 0x5f000n };
    refused(() => fd.ioasMap(args), "EINVAL");
    fd.ioasMap({ ...args, iova: 0x60000n });
    refused(() => fd.ioasReserve(ioasId, { first: 0x60fffn, last: 0x70000n }), "EADDRINUSE");
    fd.ioasAllowIovas(ioasId, [{ first: 0x100000n, last: 0x101fffn }]);
    assert.equal(fd.ioasMap({ ...args, flags: RW }), 0x100000n);
    assert.equal(fd.ioasMap({ ...args, flags: RW }), 0x101000n);
    refused(() => fd.ioasMap({ ...args, flags: RW }), "ENOSPC");
    refused(() => fd.ioasMap({ ...args, flags: RW, length: 2n ** 63n }), "EOVERFLOW");
  });

  it("touches no memory without a page table", () => {
    const { fd, caller, ioasId } = open();
    caller.memory.end = 0;
    fd.ioasMap({ ioasId, flags: RW, userVa: 0x1000n, length: 2n ** 40n });
    assert.equal(caller.memory.pinned, 0);
  });

  it("frees nothing of the space when memory for an area runs out", () => {
    const allowed = { n: 100 };
    const system = new TestSystem({ allocations: { permit: () => allowed.n-- > 0 } });
    const fd = system.open();
    const ioasId = fd.ioasAlloc();
    allowed.n = 0;
    refused(() => fd.ioasMap({ ioasId, flags: RW, userVa: 0n, length: PAGE }), "ENOMEM");
    assert.equal(fd.ioas(ioasId).space.areas.size, 0);
    assert.deepEqual([...fd.state.tables.origins.all()], []);
  });
});

describe("automatic choice of an address", () => {
  it("keeps the offset in the page and aligns as the kernel does", () => {
    const { fd, ioasId } = open();
    const map = (userVa: bigint, length: bigint): bigint =>
      fd.ioasMap({ ioasId, flags: RW, userVa, length });
    assert.equal(map(0x123000n, PAGE), 0x1000n);
    assert.equal(map(0x200000n, 0x200000n), 0x200000n, "aligned to the length");
    assert.equal(map(0x123800n, 0x800n), 0x2800n, "offset kept");
    assert.equal(map(0n, 0x3000n), 0x4000n, "address 0: the length rounded up");
    assert.equal(map(0x40000000n, 0x40000000n), 0x400000n, "at most 2 MiB");
  });

  it("never gives address 0 and fills the lowest hole", () => {
    const { fd, ioasId } = open();
    const args = { ioasId, flags: RW, userVa: 0x7000n, length: PAGE };
    const got = Array.from({ length: 5 }, () => fd.ioasMap(args));
    assert.deepEqual(got, [0x1000n, 0x2000n, 0x3000n, 0x4000n, 0x5000n]);
    assert.equal(fd.ioasUnmap(ioasId, 0x2000n, PAGE), PAGE);
    assert.equal(fd.ioasMap(args), 0x2000n);
  });
});

describe("IOMMU_IOAS_MAP_FILE", () => {
  it("takes unaligned starts and refuses what the kernel refuses", () => {
    const { fd, ioasId } = open();
    const file = new TestMemory({ kind: "file", pages: 16 });
    const args = { ioasId, flags: RW, file, start: 0x800n, length: 0x800n };
    assert.equal(fd.ioasMapFile(args), 0x1800n);
    refused(() => fd.ioasMapFile({ ...args, length: 0n }), "EINVAL");
    refused(() => fd.ioasMapFile({ ...args, start: U64_MAX, length: 2n }), "EOVERFLOW");
    const bar = new TestMemory({ kind: "device", pages: 4 });
    const wrong = { ...args, file: bar, fileSize: 0x4000n, start: 0n, length: 0x5000n };
    refused(() => fd.ioasMapFile(wrong), "EINVAL");
  });
});

describe("IOMMU_IOAS_COPY", () => {
  it("copies any covered range, over several areas, into the same or another space", () => {
    const { fd, ioasId } = open();
    const other = fd.ioasAlloc();
    const base = { ioasId, flags: FIXED };
    fd.ioasMap({ ...base, userVa: 0x10000n, length: 0x2000n, iova: 0x40000n });
    fd.ioasMap({ ...base, userVa: 0x90000n, length: 0x2000n, iova: 0x42000n });
    const copy = { srcIoasId: ioasId, srcIova: 0x41000n, length: 0x2000n, flags: FIXED };
    assert.equal(fd.ioasCopy({ ...copy, dstIoasId: other, dstIova: 0x5000n }), 0x5000n);
    assert.equal(fd.ioasCopy({ ...copy, dstIoasId: ioasId, dstIova: 0x5000n }), 0x5000n);
    assert.equal(fd.ioas(other).space.areas.size, 2);
    refused(() => fd.ioasUnmap(other, 0x5000n, 0x1800n), "ENOENT");
    assert.equal(fd.ioasUnmap(other, 0n, U64_MAX), 0x1000n, "the first area went before");
  });

  it("refuses holes, lengths, permissions", () => {
    const { fd, ioasId } = open();
    const read = MapFlag.fixedIova | MapFlag.readable;
    fd.ioasMap({ ioasId, flags: read, userVa: 0x1000n, length: PAGE, iova: 0x4000n });
    const copy = {
      srcIoasId: ioasId,
      dstIoasId: ioasId,
      srcIova: 0x4000n,
      dstIova: 0x8000n,
      length: PAGE,
      flags: read,
    };
    refused(() => fd.ioasCopy({ ...copy, length: 2n * PAGE }), "ENOENT");
    refused(() => fd.ioasCopy({ ...copy, length: 0n }), "EINVAL");
    refused(() => fd.ioasCopy({ ...copy, flags: FIXED }), "EPERM");
    refused(() => fd.ioasCopy({ ...copy, srcIova: U64_MAX }), "EOVERFLOW");
    refused(() => fd.ioasCopy({ ...copy, srcIova: U64_MAX - 1n, length: 3n }), "EOVERFLOW");
    refused(() => fd.ioasCopy({ ...copy, srcIoasId: 77 }), "ENOENT");
    refused(() => fd.ioasCopy({ ...copy, dstIoasId: 77 }), "ENOENT");
    fd.ioasCopy(copy);
    refused(() => fd.ioasCopy(copy), "EEXIST");
  });
});

describe("IOMMU_IOAS_UNMAP", () => {
  it("takes whole areas only and says what is not there", () => {
    const { fd, ioasId } = open();
    const base = { ioasId, flags: FIXED, userVa: 0x10000n };
    fd.ioasMap({ ...base, length: 0x2000n, iova: 0x4000n });
    refused(() => fd.ioasUnmap(ioasId, 0x4000n, PAGE), "ENOENT");
    refused(() => fd.ioasUnmap(ioasId, 0x5000n, PAGE), "ENOENT");
    refused(() => fd.ioasUnmap(ioasId, 0x8000n, PAGE), "ENOENT");
    refused(() => fd.ioasUnmap(ioasId, 0x4000n, 0n), "EINVAL");
    refused(() => fd.ioasUnmap(ioasId, U64_MAX, PAGE), "EOVERFLOW");
    refused(() => fd.ioasUnmap(ioasId, 0x4000n, U64_MAX), "EOVERFLOW");
    refused(() => fd.ioasUnmap(ioasId, 0x4000n, U64_MAX - 1n), "EOVERFLOW");
    refused(() => fd.ioasUnmap(77, 0x4000n, PAGE), "ENOENT");
    assert.equal(fd.ioasUnmap(ioasId, 0x3000n, 0x10000n), 0x2000n);
    assert.equal(fd.ioasUnmap(ioasId, 0n, U64_MAX), 0n, "all of nothing is fine");
  });
});

describe("ranges and options of an address space", () => {
  it("says what is usable and refuses too small a list", () => {
    const { fd, ioasId } = open();
    assert.deepEqual(fd.ioasIovaRanges(ioasId).ranges, [{ first: 0n, last: U64_MAX }]);
    fd.ioasReserve(ioasId, { first: 0x1000n, last: 0x1fffn });
    fd.ioasReserve(ioasId, { first: 0x1800n, last: 0x2fffn });
    fd.ioasReserve(ioasId, { first: U64_MAX - 0xfffn, last: U64_MAX });
    assert.deepEqual(fd.ioasIovaRanges(ioasId).ranges, [
      { first: 0n, last: 0xfffn },
      { first: 0x3000n, last: U64_MAX - 0x1000n },
    ]);
    assert.equal(fd.ioasIovaRanges(ioasId).alignment, 1);
    refused(() => fd.ioasIovaRanges(ioasId, 1), "EMSGSIZE");
    refused(() => fd.ioasIovaRanges(77), "ENOENT");
  });

  it("keeps the old allowed list when the new one is refused", () => {
    const { fd, ioasId } = open();
    const allow = (...pairs: [bigint, bigint][]): void =>
      fd.ioasAllowIovas(
        ioasId,
        pairs.map(([first, last]) => ({ first, last })),
      );
    allow([0x10000n, 0x1ffffn]);
    refused(() => allow([5n, 5n]), "EINVAL");
    refused(() => allow([0n, 9n], [9n, 12n]), "EINVAL");
    refused(() => fd.ioasReserve(ioasId, { first: 0x10000n, last: 0x10000n }), "EADDRINUSE");
    fd.ioasReserve(ioasId, { first: 0x30000n, last: 0x3ffffn });
    refused(() => allow([0x20000n, 0x30000n]), "EADDRINUSE");
    const args = { ioasId, flags: RW, userVa: 0x1000n, length: PAGE };
    assert.equal(fd.ioasMap(args), 0x10000n);
    allow();
    assert.equal(fd.ioasMap(args), 0x1000n);
  });

  it("switches large pages off only where it can", () => {
    const { fd, ioasId } = open();
    refused(() => fd.setHugePages(ioasId, 2n), "EINVAL");
    refused(() => fd.setHugePages(77, 0n), "ENOENT");
    fd.ioasMap({ ioasId, flags: RW, userVa: 0x1800n, length: 0x800n });
    refused(() => fd.setHugePages(ioasId, 0n), "EADDRINUSE");
    fd.ioasUnmap(ioasId, 0n, U64_MAX);
    fd.setHugePages(ioasId, 0n);
    assert.equal(fd.ioasIovaRanges(ioasId).alignment, 4096);
    fd.setHugePages(ioasId, 0n);
    fd.setHugePages(ioasId, 1n);
    assert.equal(fd.ioasIovaRanges(ioasId).alignment, 1);
  });

  it("changes the accounting mode before the first object only", () => {
    const system = new TestSystem();
    const caller = new TestProcess();
    const fd = system.open(caller);
    refused(() => fd.setRlimitMode(2n), "EINVAL");
    fd.setRlimitMode(1n);
    const poor = new TestProcess();
    poor.mayRaiseLimits = false;
    refused(() => fd.setRlimitMode(1n, { process: poor }), "EPERM");
    fd.ioasAlloc();
    refused(() => fd.setRlimitMode(2n), "EBUSY");
    refused(() => fd.ioasAlloc({ flags: 1 }), "EOPNOTSUPP");
  });
});
