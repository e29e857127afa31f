/** Regions: what is read, written, mapped and shared, and what DMA of others sees of it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FakeEventFd } from "../../test/support/fake-call.js";
import {
  at,
  ENGINE,
  failed,
  STUB,
  VfioBench,
  wide,
  word,
  words,
} from "../../test/support/vfio-machine.js";
import type { DmaBuf, MmapRequest } from "../files/index.js";

const RESET = 0x3b6f;
const IOEVENTFD = 0x3b74;
const FEATURE = 0x3b75;
const CONFIG = 7;
const REGISTERS = 0x1000;
const TABLE = { ...STUB, msix: 4, flr: true };

function mapRequest(offset: bigint, length: number, flags = 1): MmapRequest {
  return { offset, length: BigInt(length), protection: 3, flags };
}

describe("reading and writing", () => {
  it("stops at the end of a BAR, and needs memory decoding", () => {
    const bench = new VfioBench();
    const fd = bench.bound("stub");
    const read = (offset: bigint, length: number) =>
      bench.call.read(bench.file(fd), length, offset);
    bench.set(fd, 0, 0x123, 4, 0x11223344);
    assert.equal(bench.get(fd, 0, 0x124, 2), 0x2233);
    assert.equal((read(at(0, 0x3ffc), 64) as Uint8Array).length, 4);
    failed(read(at(0, 0x4000), 1), "EINVAL");
    failed(read(at(2), 1), "EINVAL");
    failed(read(at(6), 1), "EINVAL");
    failed(read(at(8), 1), "EINVAL");
    failed(bench.call.write(bench.file(fd), new Uint8Array(1), at(6)), "EINVAL");
    bench.set(fd, CONFIG, 4, 2, 0);
    failed(read(at(0), 4), "EIO");
    assert.equal((read(at(1), 4) as Uint8Array).length, 4, "I/O is not gated");
    bench.set(fd, CONFIG, 4, 2, 2);
    assert.equal(bench.get(fd, 0, 0x123, 4), 0x11223344);
  });

  it("keeps a position of its own for reads without one", () => {
    const bench = new VfioBench();
    const fd = bench.bound("stub");
    bench.set(fd, 0, 0, 4, 0x44332211);
    assert.deepEqual([...(bench.call.read(bench.file(fd), 2) as Uint8Array)], [0x11, 0x22]);
    assert.deepEqual([...(bench.call.read(bench.file(fd), 2) as Uint8Array)], [0x33, 0x44]);
  });

  it("the table of MSI-X reads all ones and takes nothing", () => {
    const bench = new VfioBench({ devices: [TABLE] });
    const fd = bench.bound("stub");
    const { table } = bench.files.table.find(bench.bdf("stub"))?.regions ?? {};
    assert.ok(table !== undefined);
    const { bar, offset, bytes } = table;
    const { endpoint } = { endpoint: bench.system.machine.endpoint(bench.bdf("stub")) };
    bench.set(fd, bar, offset, 4, 0x1234);
    assert.equal(bench.get(fd, bar, offset, 4), 0xffff_ffff);
    assert.deepEqual(endpoint?.readBar(bar, offset, 4), new Uint8Array(4));
    const around = bench.read(fd, bar, offset + bytes - 4, 8);
    assert.deepEqual([...around], [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
  });
});

describe("mapping", () => {
  it("shows the same bytes to program, device and calls", () => {
    const bench = new VfioBench();
    const fd = bench.bound("stub");
    bench.set(fd, 0, 0x1004, 4, 0xcafe);
    const region = bench.call.mmap(bench.file(fd), mapRequest(at(0, 0x1000), 0x2000));
    assert.ok(typeof region !== "number");
    assert.equal(region.offset, 0x1000);
    const { bytes } = region.memory;
    assert.equal((bytes[0x1004] ?? 0) | ((bytes[0x1005] ?? 0) << 8), 0xcafe);
    bytes[0x2000] = 0x77;
    assert.equal(bench.get(fd, 0, 0x2000, 1), 0x77);
    bench.set(fd, 0, 0x2001, 1, 0x78);
    assert.equal(bytes[0x2001], 0x78);
    const again = bench.files.mapBar(bench.bdf("stub"), 0, mapRequest(0n, 4096));
    assert.equal(again?.memory, region.memory);
  });

  it("is refused for registers, private mappings, and beyond the end", () => {
    const bench = new VfioBench();
    const engine = bench.bound("engine");
    const stub = bench.bound("stub");
    const map = (fd: number, request: MmapRequest) => bench.call.mmap(bench.file(fd), request);
    failed(map(engine, mapRequest(at(0), 4096)), "EINVAL");
    failed(map(stub, mapRequest(at(0), 4096, 2)), "EINVAL");
    failed(map(stub, mapRequest(at(0, 0x3000), 0x2000)), "EINVAL");
    failed(map(stub, mapRequest(at(1), 4096)), "EINVAL");
    failed(map(stub, mapRequest(at(CONFIG), 4096)), "EINVAL");
    failed(map(stub, mapRequest(at(9), 4096)), "EINVAL");
  });
});

/** A DMA write of the engine: 8 bytes of a pattern. */
function fill(bench: VfioBench, fd: number, address: bigint, pattern: number): number {
  const set = (register: number, value: number) => bench.set(fd, 0, REGISTERS + register, 4, value);
  set(0x10, 2);
  set(0x14, 0);
  set(0x28, Number(address & 0xffff_ffffn));
  set(0x2c, Number(address >> 32n));
  set(0x30, 8);
  set(0x38, pattern);
  set(0x3c, 0);
  set(0x08, 1);
  return bench.get(fd, 0, REGISTERS + 0x44, 4);
}

describe("DMA", () => {
  it("of a bound device reaches memory that its owner mapped", () => {
    const bench = new VfioBench();
    const iommufd = bench.iommufd();
    const fd = bench.bound("engine", iommufd);
    const ioas = words(12, 0, 0);
    bench.ioctl(iommufd, 0x3b81, ioas);
    assert.equal(bench.ioctl(fd, 0x3b77, words(12, 0, word(ioas, 2))), 0);
    const va = bench.process.memory.allocPages(1);
    const map = wide([40, 7, word(ioas, 2), 0], va, 4096n, 0x10000n);
    assert.equal(bench.ioctl(iommufd, 0x3b85, map), 0);
    assert.equal(fill(bench, fd, 0x10000n, 0xabcd), 4, "bus mastering is off");
    bench.set(fd, CONFIG, 4, 2, 6);
    assert.equal(fill(bench, fd, 0x10000n, 0xabcd), 0);
    assert.equal(bench.process.memory.u32(va), 0xabcd);
    fill(bench, fd, 0x20000n, 0xabcd);
    assert.equal(bench.process.memory.u32(va + 8n), 0);
  });
});

describe("PASIDs", () => {
  it("have address spaces of their own, by the device's own file", () => {
    const bench = new VfioBench({ devices: [{ ...ENGINE, pasid: { width: 10 } }] });
    const iommufd = bench.iommufd();
    const fd = bench.bound("engine", iommufd);
    bench.set(fd, CONFIG, 4, 2, 6);
    const space = () => {
      const struct = words(12, 0, 0);
      assert.equal(bench.ioctl(iommufd, 0x3b81, struct), 0);
      return word(struct, 2);
    };
    const table = (ioas: number) => {
      const struct = words(48, 8, 1, ioas, 0, 0, 0, 0, 0, 0, 0, 0);
      assert.equal(bench.ioctl(iommufd, 0x3b89, struct), 0);
      return word(struct, 4);
    };
    const [plain, tagged] = [space(), space()];
    const map = (ioas: number) => {
      const va = bench.process.memory.allocPages(1);
      const struct = wide([40, 7, ioas, 0], va, 4096n, 0x10000n);
      assert.equal(bench.ioctl(iommufd, 0x3b85, struct), 0);
      return va;
    };
    const [a, b] = [map(plain), map(tagged)];
    failed(bench.ioctl(fd, 0x3b77, words(12, 1, table(tagged))), "EINVAL");
    assert.equal(bench.ioctl(fd, 0x3b77, words(12, 0, table(plain))), 0);
    const attach = words(16, 1, table(tagged), 5);
    assert.equal(bench.ioctl(fd, 0x3b77, attach), 0);
    const send = (pasid: number | undefined, pattern: number) => {
      const set = (register: number, value: number) =>
        bench.set(fd, 0, REGISTERS + register, 4, value);
      set(0x10, 2);
      set(0x14, pasid === undefined ? 0 : 1 << 4);
      set(0x18, pasid ?? 0);
      set(0x28, 0x10000);
      set(0x30, 8);
      set(0x38, pattern);
      set(0x08, 1);
      return bench.get(fd, 0, REGISTERS + 0x44, 4);
    };
    assert.equal(send(undefined, 0x11), 0);
    assert.equal(send(5, 0x55), 0);
    send(6, 0x66);
    assert.deepEqual([bench.process.memory.u32(a), bench.process.memory.u32(b)], [0x11, 0x55]);
    assert.equal(bench.ioctl(fd, 0x3b78, words(12, 1, 5)), 0);
    send(5, 0x77);
    assert.equal(bench.process.memory.u32(b), 0x55);
  });
});

function exportBar(bench: VfioBench, fd: number, ...ranges: [number, number][]): number {
  const head = [24 + 16 * ranges.length, 0x10000 | 11, 0, 0o2000002, 0, ranges.length];
  return bench.ioctl(fd, FEATURE, wide(head, ...ranges.flat().map(BigInt)));
}

describe("dma-bufs", () => {
  it("are parts of a BAR that go while the device does not decode", () => {
    const bench = new VfioBench({ devices: [TABLE] });
    const fd = bench.bound("stub");
    const result = exportBar(bench, fd, [0x1000, 0x2000]);
    assert.ok(result > 0);
    assert.equal(bench.call.lastDescriptor?.closeOnExec, true);
    const file = bench.file(result) as unknown as DmaBuf;
    assert.equal(file.size, 0x2000n);
    const frames = new Float64Array(2);
    file.pages.pin(0, 2, true, frames);
    const base = bench.files.table.find(bench.bdf("stub"))?.regions.resources[0]?.base ?? 0n;
    assert.deepEqual([...frames], [Number(base >> 12n) + 1, Number(base >> 12n) + 2]);
    let revoked = 0;
    file.onRevoke(() => revoked++);
    bench.set(fd, CONFIG, 4, 2, 0);
    assert.deepEqual([file.isRevoked, revoked], [true, 1]);
    assert.throws(() => file.pages.pin(0, 1, true, frames), /ENODEV/);
    bench.set(fd, CONFIG, 4, 2, 2);
    assert.equal(file.isRevoked, false);
    assert.equal(bench.value(fd, RESET), 0);
    assert.deepEqual([file.isRevoked, revoked], [false, 2]);
    bench.close(fd);
    assert.equal(file.isRevoked, true);
  });

  it("are refused for ranges that are no pages of a memory BAR", () => {
    const bench = new VfioBench();
    const fd = bench.bound("stub");
    failed(exportBar(bench, fd), "EINVAL");
    failed(exportBar(bench, fd, [0x1000, 0x800]), "EINVAL");
    failed(exportBar(bench, fd, [0x3000, 0x2000]), "EINVAL");
    const head = (index: number, flags: number) => [40, 0x10000 | 11, index, 2, flags, 1];
    failed(bench.ioctl(fd, FEATURE, wide(head(0, 1), 0n, 4096n)), "EINVAL");
    failed(bench.ioctl(fd, FEATURE, wide(head(1, 0), 0n, 4096n)), "ENODEV");
    failed(bench.ioctl(fd, FEATURE, wide(head(6, 0), 0n, 4096n)), "ENODEV");
  });
});

describe("features", () => {
  it("are refused in the kernel's order", () => {
    const bench = new VfioBench();
    const fd = bench.bound("stub");
    const feature = (flags: number, bytes = 8) =>
      bench.ioctl(fd, FEATURE, words(bytes, flags, 0, 0, 0, 0));
    failed(feature(3, 7), "EINVAL");
    failed(feature(0x80003), "EINVAL");
    failed(feature(0x30003), "EINVAL");
    for (const index of [1, 2, 6, 7, 8, 9, 10, 12, 13]) failed(feature(0x10000 | index), "ENOTTY");
    failed(feature(0x20000), "ENOTTY");
    assert.equal(feature(0x60003), 0);
    failed(feature(0x50003), "EINVAL");
    failed(feature(3), "EINVAL");
    failed(feature(0x10003), "EINVAL");
    failed(feature(0x2000_4), "EINVAL");
  });

  it("low power shuts BARs until the device is woken", () => {
    const bench = new VfioBench();
    const fd = bench.bound("stub");
    const feature = (index: number, ...data: number[]) =>
      bench.ioctl(fd, FEATURE, words(8 + 4 * data.length, 0x20000 | index, ...data));
    assert.equal(feature(3), 0);
    failed(feature(3), "EINVAL");
    failed(bench.call.read(bench.file(fd), 4, at(0)), "EIO");
    assert.equal(feature(5), 0);
    assert.equal(feature(5), 0);
    bench.get(fd, 0, 0, 4);
    const event = new FakeEventFd();
    const wake = bench.process.install(event);
    failed(feature(4, wake, 1), "EINVAL");
    failed(feature(4, 99, 0), "EBADF");
    assert.equal(feature(4, wake, 0), 0);
    assert.equal(event.count, 0);
    bench.get(fd, 0, 0, 4);
    assert.deepEqual([event.count, event.kept], [1, 0]);
  });
});

describe("eventfds that write", () => {
  it("write what they stand for when they are signalled", () => {
    const bench = new VfioBench({ devices: [TABLE] });
    const fd = bench.bound("stub");
    const event = new FakeEventFd();
    const set = (width: number, offset: bigint, data: bigint, n: number) =>
      bench.ioctl(
        fd,
        IOEVENTFD,
        new Uint8Array([...wide([32, width], offset, data), ...words(n, 0)]),
      );
    const n = bench.process.install(event);
    const { table } = bench.files.table.find(bench.bdf("stub"))?.regions ?? {};
    assert.ok(table !== undefined);
    failed(set(3, at(0, 0x2000), 0x55n, n), "EINVAL");
    failed(set(0, at(0, 0x2000), 0x55n, n), "EINVAL");
    failed(set(16, at(0, 0x2000), 0x55n, n), "EINVAL");
    failed(set(4, at(0, 0x2000), 0x55n, -2), "EINVAL");
    failed(set(8, at(0, 0x2000), 0x55n, n), "EINVAL");
    failed(set(4, at(0, 0x4000), 0x55n, n), "EINVAL");
    failed(set(4, at(CONFIG, 0x10), 0x55n, n), "EINVAL");
    failed(set(4, at(table.bar, table.offset), 0x55n, n), "EINVAL");
    failed(set(4, at(0, 0x2000), 0x55n, 99), "EBADF");
    failed(set(4, at(0, 0x2000), 0x55n, -1), "ENODEV");
    assert.equal(set(4, at(0, 0x2000), 0x55n, n), 0);
    failed(set(4, at(0, 0x2000), 0x55n, n), "EEXIST");
    event.signalFromOutside();
    assert.equal(bench.get(fd, 0, 0x2000, 4), 0x55);
    assert.equal(set(4, at(0, 0x2000), 0x55n, -1), 0);
    assert.deepEqual([event.kept, event.listeners], [0, 0]);
  });
});

describe("resets", () => {
  it("leave configuration as it was, and take the device's state", () => {
    const bench = new VfioBench({ devices: [ENGINE] });
    const fd = bench.bound("engine");
    bench.set(fd, CONFIG, 4, 2, 6);
    bench.set(fd, CONFIG, 0x10, 4, 0x1234_0000);
    bench.set(fd, 0, REGISTERS + 0x20, 4, 0x1000);
    assert.equal(bench.value(fd, RESET), 0);
    assert.equal(bench.get(fd, CONFIG, 4, 2) & 6, 6);
    assert.equal(bench.get(fd, CONFIG, 0x10, 4), 0x1234_0000);
    assert.equal(bench.get(fd, 0, REGISTERS + 0x20, 4), 0);
  });

  it("a function that nothing resets says so", () => {
    const bench = new VfioBench({ devices: [STUB, { ...STUB, name: "other" }], oneBus: true });
    const fd = bench.bound("stub");
    const info = words(24, 0, 0, 0, 0, 0);
    bench.ioctl(fd, 0x3b6b, info);
    assert.equal(word(info, 1), 2);
    failed(bench.value(fd, RESET), "EINVAL");
  });
});
