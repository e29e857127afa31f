/** Calls on page tables through bytes: Linux hw_pagetable.c, device.c; formats of the selftest. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ERRNO } from "../../../src/abi/index.js";
import type { MockDriver } from "../../../src/driver/mock/index.js";
import type { Trap } from "../../../src/iommufd/index.js";
import { device } from "../../../test/support/iommufd.js";
import { Program, sized, struct, u32At, u64At } from "../../../test/support/iommufd-file.js";

const HWPT_ALLOC = 0x3b89;
const INFO = 0x3b8a;
const SET_DIRTY = 0x3b8b;
const GET_DIRTY = 0x3b8c;
const INVALIDATE = 0x3b8d;
const FAULT_ALLOC = 0x3b8e;
const MAP = 0x3b85;

const MOCK = 0xdead;
const MOCK_INVALIDATE = 0xdeadbeef;
const PARENT = 1;
const DIRTY = 2;
const FAULT = 4;

interface Hwpt {
  flags?: number;
  dev: number;
  pt: number;
  type?: number;
  length?: number;
  at?: bigint;
  fault?: number;
  reserved?: number;
}

const hwpt = (h: Hwpt) =>
  sized(
    h.flags ?? 0,
    h.dev,
    h.pt,
    0,
    h.reserved ?? 0,
    h.type ?? 0,
    h.length ?? 0,
    h.at ?? 0n,
    h.fault ?? 0,
    1,
  );

function start(options: ConstructorParameters<typeof Program>[0] = {}) {
  const p = new Program(options);
  const ioas = p.ioasAlloc();
  const dev = p.bind();
  const put = (...fields: (number | bigint)[]): bigint => {
    const bytes = struct(...fields);
    const at = p.process.memory.alloc(bytes.length);
    p.process.memory.at(at, bytes.length).set(bytes);
    return at;
  };
  const alloc = (h: Hwpt): number => u32At(p.ok(HWPT_ALLOC, hwpt(h)), 16);
  return { p, ioas, dev, put, alloc };
}

describe("IOMMU_HWPT_ALLOC", () => {
  it("checks in the kernel's order", () => {
    const { p, ioas, dev } = start();
    p.refused("EOPNOTSUPP", HWPT_ALLOC, hwpt({ dev: 99, pt: 99, reserved: 1, type: 1 }));
    p.refused("EINVAL", HWPT_ALLOC, hwpt({ dev: 99, pt: 99, type: 1 }));
    p.refused("EINVAL", HWPT_ALLOC, hwpt({ dev: 99, pt: 99, length: 4 }));
    p.refused("ENOENT", HWPT_ALLOC, hwpt({ dev: ioas, pt: 99 }));
    p.refused("EINVAL", HWPT_ALLOC, hwpt({ dev, pt: 99 }));
    p.refused("EINVAL", HWPT_ALLOC, hwpt({ dev, pt: dev }));
    p.refused("EOPNOTSUPP", HWPT_ALLOC, hwpt({ dev, pt: ioas, flags: 16 }));
    p.refused("EOPNOTSUPP", HWPT_ALLOC, hwpt({ dev, pt: ioas, flags: PARENT | FAULT }));
  });

  it("takes the short struct of old programs, and ignores the second reserved field", () => {
    const { p, ioas, dev } = start();
    const short = hwpt({ dev, pt: ioas }).slice(0, 24);
    short[0] = 24;
    assert.ok(u32At(p.ok(HWPT_ALLOC, short), 16) > 0);
  });

  it("asks for type and length of data before it reads them", () => {
    const { p, ioas, dev, put, alloc } = start();
    const data = (length: number, at: bigint, type = MOCK) =>
      hwpt({ dev, pt: ioas, type, length, at });
    p.refused("EOPNOTSUPP", HWPT_ALLOC, data(4, 0n, 7));
    p.refused("EINVAL", HWPT_ALLOC, data(3, 0n));
    p.refused("EINVAL", HWPT_ALLOC, data(9, 0n));
    p.refused("EINVAL", HWPT_ALLOC, data(0xffffffff, 0n));
    p.refused("EFAULT", HWPT_ALLOC, data(8, 0n));
    p.refused("EOPNOTSUPP", HWPT_ALLOC, data(8, put(0, 2)));
    const huge = alloc({ dev, pt: ioas, type: MOCK, length: 8, at: put(0, 1) });
    assert.ok(huge > 0);
  });

  it("makes nested tables on a parent that is one", () => {
    const { p, ioas, dev, put, alloc } = start();
    const plain = alloc({ dev, pt: ioas });
    const parent = alloc({ dev, pt: ioas, flags: PARENT });
    const at = put(0xbadbeef, 0);
    const nested = (over: Partial<Hwpt>) =>
      hwpt({ dev, pt: parent, type: MOCK, length: 8, at, ...over });
    p.refused("EOPNOTSUPP", HWPT_ALLOC, nested({ flags: PARENT }));
    p.refused("EOPNOTSUPP", HWPT_ALLOC, hwpt({ dev, pt: parent }));
    p.refused("EINVAL", HWPT_ALLOC, nested({ pt: plain }));
    p.refused("EINVAL", HWPT_ALLOC, nested({ pt: 99 }));
    p.refused("ENOENT", HWPT_ALLOC, nested({ flags: FAULT, fault: 99 }));
    const id = u32At(p.ok(HWPT_ALLOC, nested({})), 16);
    p.refused("EBUSY", 0x3b80, sized(parent));
    p.refused("EINVAL", HWPT_ALLOC, nested({ pt: id }));
  });

  it("maps the space before it looks for the fault queue", () => {
    const { p, ioas, dev } = start();
    p.ok(MAP, sized(7, ioas, 0, 0n, 4096n, 0x2000000n));
    p.refused("EFAULT", HWPT_ALLOC, hwpt({ dev, pt: ioas, flags: FAULT, fault: 99 }));
    p.ok(0x3b86, sized(ioas, 0x2000000n, 4096n));
    p.refused("ENOENT", HWPT_ALLOC, hwpt({ dev, pt: ioas, flags: FAULT, fault: 99 }));
    const fault = u32At(p.ok(FAULT_ALLOC, sized(0, 0, 0)), 8);
    const made = u32At(p.ok(HWPT_ALLOC, hwpt({ dev, pt: ioas, flags: FAULT, fault })), 16);
    assert.ok(made > 0);
  });
});

describe("IOMMU_GET_HW_INFO", () => {
  const info = (flags: number, dev: number, length: number, at: bigint, type = 0, reserved = 0) =>
    sized(flags, dev, length, at, type, [1, 0], [1, reserved], [2, 0], 0n);

  it("fills the room with what there is, then with zeros", () => {
    const { p, dev } = start();
    const { memory } = p.process;
    p.refused("EOPNOTSUPP", INFO, info(2, 99, 0, 0n));
    p.refused("EOPNOTSUPP", INFO, info(0, 99, 0, 0n, 0, 1));
    p.refused("ENOENT", INFO, info(0, 99, 0, 0n));
    p.refused("EOPNOTSUPP", INFO, info(1, dev, 0, 0n, 5));
    p.refused("EFAULT", INFO, info(0, dev, 4, 0n));
    const at = memory.alloc(16);
    memory.at(at, 16).fill(0xff);
    const out = p.ok(INFO, info(0, dev, 12, at, 5));
    assert.equal(u32At(out, 12), 8);
    assert.equal(u32At(out, 24), 0xfeedbeef);
    assert.equal(out[28], 20);
    assert.equal(u64At(out, 32), 9n);
    assert.deepEqual(
      [memory.u64(at), memory.u64(at + 8n)],
      [0xdeadbeefn << 32n, 0xffffffffn << 32n],
    );
    assert.equal(u32At(p.ok(INFO, info(1, dev, 4, at, 0xfeedbeef)), 12), 8);
    const short = info(0, dev, 0, 0n).slice(0, 32);
    short[0] = 32;
    p.ok(INFO, short);
  });

  it("fails where the room ends in a hole", () => {
    const { p, dev } = start();
    const at = p.process.memory.allocPages(2);
    p.process.memory.unmap(at + 4096n, 4096);
    p.refused("EFAULT", INFO, info(0, dev, 5000, at));
  });
});

describe("dirty tracking", () => {
  const get = (id: number, flags: number, iova: bigint, length: bigint, page: bigint, at: bigint) =>
    sized(id, flags, 0, iova, length, page, at);

  it("checks in the kernel's order", () => {
    const { p, ioas, dev, alloc } = start();
    const id = alloc({ dev, pt: ioas });
    const dirty = alloc({ dev, pt: ioas, flags: DIRTY });
    p.refused("EOPNOTSUPP", SET_DIRTY, sized(2, 99, 0));
    p.refused("ENOENT", SET_DIRTY, sized(1, 99, 0));
    p.refused("EOPNOTSUPP", SET_DIRTY, sized(1, id, 0));
    p.ok(SET_DIRTY, sized(1, dirty, 77));
    p.refused("EOPNOTSUPP", GET_DIRTY, get(99, 2, 0n, 0n, 0n, 0n));
    p.refused("EOPNOTSUPP", GET_DIRTY, sized(99, 0, 1, 0n, 0n, 0n, 0n));
    p.refused("ENOENT", GET_DIRTY, get(99, 0, 0n, 0n, 0n, 0n));
    p.refused("EOVERFLOW", GET_DIRTY, get(id, 0, 4096n, 0n, 0n, 0n));
    p.refused("EINVAL", GET_DIRTY, get(id, 0, 1n, 4096n, 0n, 0n));
    p.refused("EINVAL", GET_DIRTY, get(id, 0, 4096n, 4096n, 0n, 0n));
    p.refused("EINVAL", GET_DIRTY, get(id, 0, 4096n, 4096n, 8192n, 0n));
    p.refused("EOPNOTSUPP", GET_DIRTY, get(id, 0, 4096n, 4096n, 4096n, 0n));
  });

  it("sets bits at any byte, and loses those of pages that cannot be written", () => {
    const traps: Trap[] = [];
    const ports = { strict: true, onTrap: (t: Trap) => traps.push(t) };
    const { p, ioas, dev, alloc } = start({ ports });
    const { memory } = p.process;
    const id = alloc({ dev, pt: ioas, flags: DIRTY });
    const iova = 0x2000000n;
    p.ok(MAP, sized(7, ioas, 0, memory.allocPages(16), 16n * 4096n, iova));
    p.ok(SET_DIRTY, sized(1, id, 0));
    const driver = p.system.driver as MockDriver;
    const mark = () => {
      for (let page = 0; page < 16; page += 3) {
        driver.domains[0]?.markDirty(Number(iova / 2048n) + page * 2);
        driver.domains[0]?.markDirty(Number(iova / 2048n) + page * 2 + 1);
      }
    };
    mark();
    const pages = memory.allocPages(2);
    memory.at(pages + 4095n, 2).set([0x02, 0x04]);
    p.ok(GET_DIRTY, get(id, 0, iova, 16n * 4096n, 4096n, pages + 4095n));
    assert.deepEqual([...memory.at(pages + 4095n, 2)], [0x49 | 0x02, 0x92 | 0x04]);
    memory.at(pages + 4095n, 2).set([0, 0]);
    p.ok(GET_DIRTY, get(id, 0, iova, 16n * 4096n, 4096n, pages + 4095n));
    assert.deepEqual([...memory.at(pages + 4095n, 2)], [0, 0]);
    mark();
    memory.protect(pages, 4096);
    p.ok(GET_DIRTY, get(id, 0, iova, 16n * 4096n, 4096n, pages + 4095n));
    assert.deepEqual([...memory.at(pages + 4095n, 2)], [0, 0x92]);
    p.ok(GET_DIRTY, get(id, 0, iova, 32n * 4096n, 4096n, pages + 4096n));
    assert.deepEqual(
      traps.map((t) => t.kind),
      ["dirty-bitmap-lost", "dirty-hole"],
    );
    p.ok(GET_DIRTY, get(id, 0, iova, 16n * 4096n, 4096n, 0n));
  });
});

describe("IOMMU_HWPT_INVALIDATE", () => {
  const inv = (id: number, at: bigint, type: number, length: number, count: number, reserved = 0) =>
    sized(id, at, type, length, count, reserved);

  /** @returns entries done. */
  function fails(p: Program, code: keyof typeof ERRNO, bytes: Uint8Array): number {
    assert.equal(p.ioctl(INVALIDATE, bytes), -ERRNO[code]);
    return u32At(bytes, 24);
  }

  it("writes back how many entries were done, whatever happens", () => {
    const { p, ioas, dev, put, alloc } = start();
    const parent = alloc({ dev, pt: ioas, flags: PARENT });
    const id = alloc({ dev, pt: parent, type: MOCK, length: 8, at: put(5, 0) });
    const entries = put(0, 0, 0, 1, 0, 4);
    assert.equal(fails(p, "EOPNOTSUPP", inv(99, 0n, 0, 8, 3, 1)), 0);
    assert.equal(fails(p, "EINVAL", inv(99, 0n, 0, 8, 3)), 0);
    assert.equal(fails(p, "EINVAL", inv(99, entries, 0, 0, 3)), 0);
    assert.equal(fails(p, "EINVAL", inv(99, entries, 0, 4097, 3)), 0);
    assert.equal(fails(p, "EINVAL", inv(99, entries, 0, 8, 2 ** 19 + 1)), 0);
    assert.equal(fails(p, "ENOENT", inv(99, entries, 0, 8, 3)), 0);
    assert.equal(fails(p, "EINVAL", inv(parent, entries, 0, 8, 3)), 0);
    assert.equal(fails(p, "EINVAL", inv(id, entries, 0, 8, 3)), 0);
    p.ok(INVALIDATE, inv(id, 0n, MOCK_INVALIDATE, 0, 0));
    assert.equal(fails(p, "EINVAL", inv(id, entries, MOCK_INVALIDATE, 7, 3)), 0);
    assert.equal(fails(p, "EINVAL", inv(id, entries, MOCK_INVALIDATE, 8, 3)), 2);
    assert.equal(u32At(p.ok(INVALIDATE, inv(id, entries, MOCK_INVALIDATE, 8, 2)), 24), 2);
    assert.equal(fails(p, "EOPNOTSUPP", inv(id, put(0, 1, 2, 0), MOCK_INVALIDATE, 8, 2)), 1);
  });

  it("does the entries before a hole", () => {
    const { p, ioas, dev, put, alloc } = start();
    const parent = alloc({ dev, pt: ioas, flags: PARENT });
    const id = alloc({ dev, pt: parent, type: MOCK, length: 8, at: put(5, 0) });
    const pages = p.process.memory.allocPages(2);
    p.process.memory.unmap(pages + 4096n, 4096);
    assert.equal(fails(p, "EFAULT", inv(id, pages + 4080n, MOCK_INVALIDATE, 8, 3)), 2);
  });
});

describe("IOMMU_FAULT_QUEUE_ALLOC", () => {
  it("reads and answers faults through its file", () => {
    const { p, ioas, dev, alloc } = start();
    p.refused("EOPNOTSUPP", FAULT_ALLOC, sized(1, 0, 0));
    const made = p.ok(FAULT_ALLOC, sized(0, 0, 0));
    const fd = p.call.lastDescriptor?.fd ?? -1;
    const file = p.process.file(fd);
    const fault = u32At(made, 8);
    const id = alloc({ dev, pt: ioas, flags: FAULT, fault });
    const { iommufd } = p.file;
    iommufd.attach({ device: iommufd.device(dev), ptId: id });
    let changes = 0;
    file.onPoll = () => changes++;
    const answers: number[] = [];
    const group = (groupId: number, count: number) => ({
      groupId,
      faults: Array.from({ length: count }, (_, i) => ({ perm: 2, address: BigInt(i) * 4096n })),
      respond: (code: number) => answers.push(code),
    });
    assert.equal(file.poll?.(), 4);
    assert.deepEqual(p.call.read(file, 40), new Uint8Array());
    assert.equal(p.call.read(file, 41), -ERRNO.ESPIPE);
    assert.equal(p.call.read(file, 40, 8n), -ERRNO.ESPIPE);
    iommufd.deliverFault(device(0), undefined, group(7, 2));
    iommufd.deliverFault(device(0), undefined, group(8, 1));
    assert.equal(changes, 2);
    assert.equal(file.poll?.(), 5);
    assert.equal(p.call.read(file, 40), -ERRNO.EINVAL);
    const first = p.call.read(file, 80) as Uint8Array;
    assert.equal(first.length, 80);
    const fields = [0, 4, 8, 12, 16, 36].map((at) => u32At(first, 40 + at));
    assert.deepEqual(fields, [2, dev, 0, 7, 2, 1]);
    assert.equal(u64At(first, 40 + 24), 4096n);
    assert.equal((p.call.read(file, 400) as Uint8Array).length, 40);
    assert.equal(file.poll?.(), 4);
    assert.equal(p.call.write(file, struct(1)), -ERRNO.ESPIPE);
    assert.equal(p.call.write(file, struct(9, 0)), -ERRNO.EINVAL);
    assert.equal(p.call.write(file, struct(1, 2)), -ERRNO.EINVAL);
    assert.equal(p.call.write(file, struct(1, 0, 1, 0)), 8);
    assert.equal(p.call.write(file, struct(2, 1)), 8);
    assert.deepEqual(answers, [0, 1]);
    p.process.close(fd);
    p.refused("EBUSY", 0x3b80, sized(fault));
    iommufd.detach(iommufd.device(dev));
    p.ok(0x3b80, sized(id));
    p.ok(0x3b80, sized(fault));
  });
});
