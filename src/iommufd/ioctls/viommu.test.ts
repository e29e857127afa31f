/** Virtual IOMMUs through bytes: Linux viommu.c, eventq.c; formats of the selftest driver. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ERRNO } from "../../../src/abi/index.js";
import type { MappedRegion } from "../../../src/files/index.js";
import { Program, sized, struct, u32At, u64At } from "../../../test/support/iommufd-file.js";

const VIOMMU = 0x3b90;
const VDEVICE = 0x3b91;
const VEVENTQ = 0x3b93;
const HW_QUEUE = 0x3b94;
const INVALIDATE = 0x3b8d;
const DESTROY = 0x3b80;
const MAP = 0x3b85;
const UNMAP = 0x3b86;
const MOCK = 0xdeadbeef;

function start() {
  const p = new Program();
  const ioas = p.ioasAlloc();
  const dev = p.bind();
  const put = (...fields: (number | bigint)[]): bigint => {
    const bytes = struct(...fields);
    const at = p.process.memory.alloc(bytes.length);
    p.process.memory.at(at, bytes.length).set(bytes);
    return at;
  };
  const hwpt = (flags: number): number =>
    u32At(p.ok(0x3b89, sized(flags, dev, ioas, 0, 0, 0, 0, 0n, 0, 0)), 16);
  const plain = hwpt(0);
  const parent = hwpt(1);
  const viommu = (): number => u32At(p.ok(VIOMMU, alloc(0, MOCK, dev, parent)), 20);
  return { p, ioas, dev, put, plain, parent, viommu };
}

const alloc = (flags: number, type: number, dev: number, hwpt: number, length = 0, at = 0n) =>
  sized(flags, type, dev, hwpt, 0, length, 77, at);

describe("IOMMU_VIOMMU_ALLOC", () => {
  it("checks in the kernel's order", () => {
    const { p, dev, plain, parent, ioas } = start();
    p.refused("EOPNOTSUPP", VIOMMU, alloc(1, MOCK, 99, 99));
    p.refused("EOPNOTSUPP", VIOMMU, alloc(0, 0, 99, 99));
    p.refused("ENOENT", VIOMMU, alloc(0, MOCK, ioas, 99));
    p.refused("EOPNOTSUPP", VIOMMU, alloc(0, 1, dev, ioas));
    p.refused("ENOENT", VIOMMU, alloc(0, MOCK, dev, ioas));
    p.refused("EINVAL", VIOMMU, alloc(0, MOCK, dev, plain));
    const short = alloc(0, MOCK, dev, parent).slice(0, 24);
    short[0] = 24;
    const id = u32At(p.ok(VIOMMU, short), 20);
    p.refused("EBUSY", DESTROY, sized(parent));
    p.ok(DESTROY, sized(id));
  });

  it("answers with data as far as the caller has room, and undoes what it cannot tell", () => {
    const { p, dev, parent, put } = start();
    const { memory } = p.process;
    const objects = p.file.iommufd.state.objects.size;
    p.refused("EINVAL", VIOMMU, alloc(0, MOCK, dev, parent, 4, put(1)));
    p.refused("EINVAL", VIOMMU, alloc(0, MOCK, dev, parent, 25, 0n));
    p.refused("EFAULT", VIOMMU, alloc(0, MOCK, dev, parent, 8, 0n));
    const page = memory.allocPages(1);
    memory.protect(page, 4096);
    p.refused("EFAULT", VIOMMU, alloc(0, MOCK, dev, parent, 8, page));
    assert.equal(p.file.iommufd.state.objects.size, objects);
    const at = put(0xbeef, 0, 7n, 7n);
    p.ok(VIOMMU, alloc(0, MOCK, dev, parent, 8, at));
    assert.deepEqual([memory.u32(at + 4n), memory.u64(at + 8n)], [0xbeef, 7n]);
  });
});

describe("mmap of the file", () => {
  it("maps what a driver handed out, whole and shared", () => {
    const { p, dev, parent, put } = start();
    const at = put(0xbeef, 0, 0n, 0n);
    const id = u32At(p.ok(VIOMMU, alloc(0, MOCK, dev, parent, 24, at)), 20);
    const offset = p.process.memory.u64(at + 8n);
    const length = p.process.memory.u64(at + 16n);
    assert.deepEqual([offset, length], [4096n, 8192n]);
    const map = (over: object) =>
      p.call.mmap(p.file, { length, protection: 3, flags: 1, offset, ...over });
    assert.equal(map({ length: 0n }), -ERRNO.EINVAL);
    assert.equal(map({ flags: 2 }), -ERRNO.EINVAL);
    assert.equal(map({ protection: 5 }), -ERRNO.EPERM);
    assert.equal(map({ offset: 0n }), -ERRNO.ENXIO);
    assert.equal(map({ offset: 8192n, length: 4096n }), -ERRNO.ENXIO);
    assert.equal(map({ length: 4096n }), -ERRNO.ENXIO);
    const region = map({}) as MappedRegion;
    assert.equal(u32At(region.memory.bytes, 0), 0xbeef);
    p.refused("EBUSY", DESTROY, sized(id));
    p.file.release();
    assert.equal(p.file.context.holders, 1);
    region.released?.();
    assert.equal(p.file.context.holders, 0);
  });

  it("gives regions the lowest free place", () => {
    const { p, dev, parent, put } = start();
    const make = (): { id: number; offset: bigint } => {
      const at = put(1, 0, 0n, 0n);
      const id = u32At(p.ok(VIOMMU, alloc(0, MOCK, dev, parent, 24, at)), 20);
      return { id, offset: p.process.memory.u64(at + 8n) };
    };
    const made = [make(), make(), make()];
    assert.deepEqual(
      made.map((m) => m.offset),
      [4096n, 12288n, 20480n],
    );
    p.ok(DESTROY, sized(made[1]?.id ?? 0));
    assert.equal(
      p.call.mmap(p.file, { length: 8192n, protection: 3, flags: 1, offset: 12288n }),
      -6,
    );
    assert.equal(make().offset, 12288n);
  });
});

describe("IOMMU_VDEVICE_ALLOC", () => {
  it("names a device once, and leaves a tombstone", () => {
    const { p, dev, viommu } = start();
    const id = viommu();
    const vdevice = (v: number, d: number, number: bigint) => sized(v, d, 0, number);
    p.refused("ENOENT", VDEVICE, vdevice(dev, dev, 1n));
    p.refused("ENOENT", VDEVICE, vdevice(id, id, 1n));
    const made = u32At(p.ok(VDEVICE, vdevice(id, dev, 5n)), 12);
    p.refused("EEXIST", VDEVICE, vdevice(id, dev, 6n));
    p.refused("EEXIST", VDEVICE, vdevice(id, p.bind(1), 5n));
    p.refused("EBUSY", DESTROY, sized(id));
    const { iommufd } = p.file;
    iommufd.unbind(iommufd.device(dev));
    p.refused("ENOENT", DESTROY, sized(made));
    for (let i = 0; i < 10; i++) assert.notEqual(p.ioasAlloc(), made);
  });
});

describe("vIOMMU invalidation", () => {
  it("reads all entries first; short ones are filled with 0, long ones end in zeros", () => {
    const { p, dev, put, viommu } = start();
    const id = viommu();
    p.ok(VDEVICE, sized(id, dev, 0, 5n));
    const inv = (at: bigint, length: number, count: number) =>
      sized(id, at, MOCK, length, count, 0);
    const done = (code: keyof typeof ERRNO, bytes: Uint8Array): number => {
      assert.equal(p.ioctl(INVALIDATE, bytes), -ERRNO[code]);
      return u32At(bytes, 24);
    };
    p.ok(INVALIDATE, inv(0n, 0, 0));
    p.ok(INVALIDATE, inv(put(0, 5, 1, 0, 5, 2), 12, 2));
    p.ok(INVALIDATE, inv(put(0, 5, 0, 5), 8, 2));
    p.ok(INVALIDATE, inv(put(0, 5, 1, 0, 0, 5, 2, 0), 16, 2));
    assert.equal(done("E2BIG", inv(put(0, 5, 1, 0, 0, 5, 2, 1), 16, 2)), 0);
    const pages = p.process.memory.allocPages(2);
    p.process.memory.unmap(pages + 4096n, 4096);
    p.process.memory.setU32(pages + 4076n, 5);
    assert.equal(done("EFAULT", inv(pages + 4072n, 12, 3)), 0);
    assert.equal(done("EINVAL", inv(put(0, 5, 1, 0, 6, 2), 12, 2)), 1);
  });
});

describe("IOMMU_VEVENTQ_ALLOC", () => {
  it("reads events through its file, with a mark for lost ones", () => {
    const { p, dev, viommu, put } = start();
    const id = viommu();
    const ask = (flags: number, v: number, type: number, depth: number, reserved = 0) =>
      sized(flags, v, type, depth, 0, 0, reserved);
    p.refused("EOPNOTSUPP", VEVENTQ, ask(1, 99, 1, 1));
    p.refused("EOPNOTSUPP", VEVENTQ, ask(0, 99, 1, 0, 1));
    p.refused("EOPNOTSUPP", VEVENTQ, ask(0, 99, 0, 1));
    p.refused("EINVAL", VEVENTQ, ask(0, 99, 1, 0));
    p.refused("EINVAL", VEVENTQ, ask(0, 99, 1, 2 ** 19 + 1));
    p.refused("ENOENT", VEVENTQ, ask(0, 99, 1, 2));
    const queue = u32At(p.ok(VEVENTQ, ask(0, id, 1, 2)), 20);
    const fd = p.call.lastDescriptor?.fd ?? -1;
    const file = p.process.file(fd);
    p.refused("EEXIST", VEVENTQ, ask(0, id, 1, 2));
    const { iommufd } = p.file;
    p.ok(VDEVICE, sized(id, dev, 0, 5n));
    const nested = u32At(p.ok(0x3b89, sized(0, dev, id, 0, 0, 0xdead, 4, put(1), 0, 0)), 16);
    iommufd.attach({ device: iommufd.device(dev), ptId: nested });
    assert.equal(file.poll?.(), 0);
    assert.deepEqual(p.call.read(file, 8), new Uint8Array());
    assert.equal(p.call.read(file, 7), -ERRNO.EINVAL);
    for (let i = 0; i < 4; i++) iommufd.deliverVirtualEvent(dev, 1, () => struct(i));
    assert.equal(file.poll?.(), 1);
    assert.equal(p.call.read(file, 11), -ERRNO.EINVAL);
    assert.equal(p.call.read(file, 12, 1n), -ERRNO.ESPIPE);
    assert.deepEqual(p.call.read(file, 13), struct(0, 0, 0));
    assert.deepEqual(p.call.read(file, 100), struct(0, 1, 1, 1, 3));
    assert.equal(p.call.write(file, struct(1)), -ERRNO.EINVAL);
    p.refused("EBUSY", DESTROY, sized(queue));
    p.process.close(fd);
    p.ok(DESTROY, sized(queue));
  });
});

describe("IOMMU_HW_QUEUE_ALLOC", () => {
  it("locks the memory of the queue", () => {
    const { p, ioas, viommu } = start();
    const id = viommu();
    const ask = (flags: number, v: number, type: number, index: number, at: bigint, n: bigint) =>
      sized(flags, v, type, index, 0, at, n);
    const at = 0x2000000n;
    p.refused("EOPNOTSUPP", HW_QUEUE, ask(1, 99, MOCK, 0, at, 0n));
    p.refused("EOPNOTSUPP", HW_QUEUE, ask(0, 99, 0, 0, at, 0n));
    p.refused("EINVAL", HW_QUEUE, ask(0, 99, MOCK, 0, at, 0n));
    p.refused("EOVERFLOW", HW_QUEUE, ask(0, 99, MOCK, 0, 2n ** 64n - 4n, 8n));
    p.refused("ENOENT", HW_QUEUE, ask(0, 99, MOCK, 0, at, 4096n));
    p.refused("EOPNOTSUPP", HW_QUEUE, ask(0, id, 1, 0, at, 4096n));
    p.refused("ENOENT", HW_QUEUE, ask(0, id, MOCK, 0, at, 4096n));
    p.ok(MAP, sized(7, ioas, 0, p.process.memory.allocPages(1), 4096n, at));
    p.refused("EIO", HW_QUEUE, ask(0, id, MOCK, 1, at, 4096n));
    p.refused("EINVAL", HW_QUEUE, ask(0, id, MOCK, 2, at, 4096n));
    const first = u32At(p.ok(HW_QUEUE, ask(0, id, MOCK, 0, at, 4096n)), 20);
    p.refused("EEXIST", HW_QUEUE, ask(0, id, MOCK, 0, at, 4096n));
    const second = u32At(p.ok(HW_QUEUE, ask(0, id, MOCK, 1, at, 4096n)), 20);
    p.refused("EBUSY", DESTROY, sized(first));
    p.refused("EBUSY", UNMAP, sized(ioas, at, 4096n));
    p.ok(DESTROY, sized(second));
    p.ok(DESTROY, sized(first));
    assert.equal(u64At(p.ok(UNMAP, sized(ioas, at, 4096n)), 16), 4096n);
  });
});
