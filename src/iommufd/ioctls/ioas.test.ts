/** Calls on address spaces through bytes: Linux ioas.c, io_pagetable.c. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DmaBuf, FileKind, PageSource } from "../../../src/files/index.js";
import { FakeFile, FakeProcess } from "../../../test/support/fake-call.js";
import { Program, sized, struct, u32At, u64At } from "../../../test/support/iommufd-file.js";

const DESTROY = 0x3b80;
const ALLOW = 0x3b82;
const COPY = 0x3b83;
const RANGES = 0x3b84;
const MAP = 0x3b85;
const UNMAP = 0x3b86;
const MAP_FILE = 0x3b8f;
const CHANGE_PROCESS = 0x3b92;

const FIXED = 1;
const WRITE = 2;
const READ = 4;
const RW = WRITE | READ;
const MAX = 2n ** 64n - 1n;
const PAGE = 4096n;
const IOVA = 0x2000000n;

const map = (ioas: number, flags: number, va: bigint, length: bigint, iova: bigint) =>
  sized(flags, ioas, 0, va, length, iova);

describe("IOMMU_IOAS_MAP", () => {
  it("checks in the kernel's order", () => {
    const p = new Program();
    const ioas = p.ioasAlloc();
    const bad = ioas + 1;
    p.refused("EOPNOTSUPP", MAP, map(bad, 8, MAX, MAX, MAX));
    p.refused("EOPNOTSUPP", MAP, sized(RW, bad, 1, 0n, MAX, MAX));
    p.refused("EOVERFLOW", MAP, map(bad, 0, MAX, 0n, MAX));
    p.refused("EOVERFLOW", MAP, map(bad, 0, 0n, MAX, 0n));
    p.refused("EINVAL", MAP, map(bad, FIXED, MAX, PAGE, 0n));
    p.refused("ENOENT", MAP, map(bad, RW, MAX, PAGE, 0n));
    p.refused("EOVERFLOW", MAP, map(ioas, RW, MAX - 1n, 2n * PAGE, 0n));
    p.refused("EINVAL", MAP, map(ioas, RW, 0n, 0n, 0n));
    p.refused("EINVAL", MAP, map(ioas, RW, 0n, MAX - 4000n, 0n));
    p.refused("EOVERFLOW", MAP, map(ioas, RW | FIXED, 0n, 2n * PAGE, MAX - 4095n));
  });

  it("chooses an address and writes it back; a fixed one stays", () => {
    const p = new Program();
    const ioas = p.ioasAlloc();
    const va = p.process.memory.alloc(8192, 8192);
    assert.equal(u64At(p.ok(MAP, map(ioas, RW, va, 2n * PAGE, 5n)), 32), PAGE * 2n);
    assert.equal(u64At(p.ok(MAP, map(ioas, RW | FIXED, va, PAGE, IOVA)), 32), IOVA);
    p.refused("EEXIST", MAP, map(ioas, RW | FIXED, va, PAGE, IOVA));
  });

  it("touches memory only when a page table shows it, and that of the caller's process", () => {
    const p = new Program();
    const ioas = p.ioasAlloc();
    const hole = p.process.memory.base - PAGE;
    p.ok(MAP, map(ioas, RW | FIXED, hole, PAGE, IOVA));
    p.ok(DESTROY, sized(ioas));
    const shown = p.ioasAlloc();
    p.ok(0x3b89, sized(0, p.bind(), shown, 0, 0, 0, 0, 0n, 0, 0));
    p.refused("EFAULT", MAP, map(shown, RW | FIXED, hole, PAGE, IOVA));
    const other = new FakeProcess(2);
    const va = other.memory.allocPages(1);
    const bytes = map(shown, RW | FIXED, va, PAGE, IOVA);
    assert.equal(other.thread().ioctlBytes(p.file, MAP, bytes), 0);
    assert.equal(other.memory.pins.size, 1);
    assert.equal(p.process.memory.pins.size, 0);
  });

  it("charges the caller unless it may lock memory", () => {
    const p = new Program();
    const ioas = p.ioasAlloc();
    p.ok(0x3b89, sized(0, p.bind(), ioas, 0, 0, 0, 0, 0n, 0, 0));
    const va = p.process.memory.allocPages(2);
    p.process.userLocked.limit = 1;
    p.refused("ENOMEM", MAP, map(ioas, RW, va, 2n * PAGE, 0n));
    p.process.mayLockMemory = true;
    p.ok(MAP, map(ioas, RW, va, 2n * PAGE, 0n));
    assert.equal(p.process.userLocked.charged, 0);
    assert.equal(p.process.pinnedPages, 2);
  });
});

describe("IOMMU_IOAS_UNMAP", () => {
  it("writes the bytes removed, and nothing when it fails", () => {
    const p = new Program();
    const ioas = p.ioasAlloc();
    const va = p.process.memory.allocPages(1);
    p.ok(MAP, map(ioas, RW | FIXED, va, PAGE, IOVA));
    p.refused("EINVAL", UNMAP, sized(ioas, IOVA, 0n));
    p.refused("EOVERFLOW", UNMAP, sized(ioas, IOVA, MAX));
    p.refused("EOVERFLOW", UNMAP, sized(ioas, MAX, PAGE));
    p.refused("EOVERFLOW", UNMAP, sized(ioas, MAX - 1n, PAGE));
    p.refused("ENOENT", UNMAP, sized(ioas + 1, IOVA, PAGE));
    p.refused("ENOENT", UNMAP, sized(ioas, IOVA, 1n));
    assert.equal(u64At(p.ok(UNMAP, sized(ioas, IOVA - 1n, 2n * PAGE)), 16), PAGE);
    p.refused("ENOENT", UNMAP, sized(ioas, IOVA, PAGE));
    assert.equal(u64At(p.ok(UNMAP, sized(ioas, 0n, MAX)), 16), 0n);
  });
});

describe("IOMMU_IOAS_COPY", () => {
  it("looks at flags, addresses, permissions, the source, then the target", () => {
    const p = new Program();
    const ioas = p.ioasAlloc();
    const va = p.process.memory.allocPages(2);
    p.ok(MAP, map(ioas, READ | FIXED, va, 2n * PAGE, IOVA));
    const copy = (
      flags: number,
      dst: number,
      src: number,
      length: bigint,
      to: bigint,
      from: bigint,
    ) => sized(flags, dst, src, length, to, from);
    p.refused("EOPNOTSUPP", COPY, copy(8, 9, 9, MAX, MAX, MAX));
    p.refused("EOVERFLOW", COPY, copy(0, 9, 9, PAGE, 0n, MAX));
    p.refused("EOVERFLOW", COPY, copy(0, 9, 9, MAX, 0n, 0n));
    p.refused("EINVAL", COPY, copy(0, 9, 9, PAGE, 0n, IOVA));
    p.refused("ENOENT", COPY, copy(READ, ioas, 9, PAGE, 0n, IOVA));
    p.refused("EINVAL", COPY, copy(READ, 9, ioas, 0n, 0n, IOVA));
    p.refused("ENOENT", COPY, copy(READ, 9, ioas, PAGE, 0n, IOVA - 1n));
    p.refused("ENOENT", COPY, copy(READ, 9, ioas, PAGE, 0n, IOVA));
    p.refused("EPERM", COPY, copy(RW, ioas, ioas, PAGE, 0n, IOVA));
    const done = p.ok(COPY, copy(READ, ioas, ioas, 100n, 0n, IOVA + 50n));
    assert.equal(u64At(done, 24) % PAGE, 50n);
  });
});

describe("IOMMU_IOAS_IOVA_RANGES", () => {
  it("answers with the number and the alignment also when the ranges do not fit", () => {
    const p = new Program();
    const ioas = p.ioasAlloc();
    const ask = (id: number, room: number, at: bigint) => sized(id, room, 0, at, 0n);
    p.refused("EOPNOTSUPP", RANGES, sized(9, 0, 1, 0n, 0n));
    p.refused("ENOENT", RANGES, ask(9, 0, 0n));
    const query = ask(ioas, 0, 0n);
    assert.equal(p.ioctl(RANGES, query), -90);
    assert.equal(u32At(query, 8), 1);
    assert.equal(u64At(query, 24), 1n);
    const at = p.process.memory.alloc(16);
    p.ok(RANGES, ask(ioas, 1, at));
    assert.equal(p.process.memory.u64(at), 0n);
    assert.equal(p.process.memory.u64(at + 8n), MAX);
    p.refused("EFAULT", RANGES, ask(ioas, 1, 0n));
    const hwpt = p.ok(0x3b89, sized(0, p.bind(), ioas, 0, 0, 0, 0, 0n, 0, 0));
    assert.ok(u32At(hwpt, 16) > 0);
    p.ok(RANGES, ask(ioas, 1, at));
    assert.equal(p.process.memory.u64(at), 0x1000000n);
    assert.equal(p.process.memory.u64(at + 8n), 0x7fffffffn);
  });
});

describe("IOMMU_IOAS_ALLOW_IOVAS", () => {
  it("reads ranges one after the other: the first that is wrong decides", () => {
    const p = new Program();
    const ioas = p.ioasAlloc();
    const { memory } = p.process;
    const page = memory.allocPages(2);
    memory.unmap(page + PAGE, 4096);
    const put = (...ranges: bigint[]): bigint => {
      const bytes = struct(...ranges);
      const at = page + PAGE - BigInt(bytes.length);
      memory.at(at, bytes.length).set(bytes);
      return at;
    };
    p.refused("EOPNOTSUPP", ALLOW, sized(9, 1, 1, 0n));
    p.refused("ENOENT", ALLOW, sized(9, 1, 0, 0n));
    p.refused("EFAULT", ALLOW, sized(ioas, 1, 0, 0n));
    p.refused("EINVAL", ALLOW, sized(ioas, 1, 0, put(5n, 5n)));
    p.refused("EINVAL", ALLOW, sized(ioas, 2, 0, put(0n, 9n, 9n, 20n)));
    p.refused("EFAULT", ALLOW, sized(ioas, 3, 0, put(0n, 9n, 10n, 20n)));
    p.refused("EINVAL", ALLOW, sized(ioas, 3, 0, put(0n, 9n, 9n, 20n)));
    p.refused("EINVAL", ALLOW, sized(ioas, 300, 0, put(0n, 9n, 9n, 20n)));
    p.ok(ALLOW, sized(ioas, 2, 0, put(0x200000n, 0x201fffn, 0x8000n, 0x9fffn)));
    const va = memory.allocPages(1);
    assert.equal(u64At(p.ok(MAP, map(ioas, RW, va, PAGE, 0n)), 32), 0x8000n);
    p.ok(ALLOW, sized(ioas, 0, 0, 0n));
  });
});

/** A buffer of `pages` pages of a device. */
function buffer(pages: number): DmaBuf & { revoke(): void; isRevoked: boolean; listeners: number } {
  const listeners = new Set<() => void>();
  const source: PageSource = {
    label: "buffer",
    kind: "device",
    pin: (page, count, _writable, frames) => {
      for (let i = 0; i < count; i++) frames[i] = 0x900000 + page + i;
    },
    unpin: () => {},
    read: () => {},
    write: () => {},
  };
  return {
    kind: 5 satisfies typeof FileKind.dmaBuf,
    label: "/dmabuf:",
    exporter: "vfio-pci",
    size: BigInt(pages) * PAGE,
    pages: source,
    isRevoked: false,
    onRevoke: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    revoke() {
      this.isRevoked = true;
      for (const listener of listeners) listener();
    },
    get listeners() {
      return listeners.size;
    },
    release: () => {},
  };
}

describe("IOMMU_IOAS_MAP_FILE", () => {
  const mapFile = (ioas: number, flags: number, fd: number, start: bigint, length: bigint) =>
    sized(flags, ioas, fd, start, length, IOVA);

  it("checks the space and the range before the descriptor", () => {
    const p = new Program();
    const ioas = p.ioasAlloc();
    p.refused("EOPNOTSUPP", MAP_FILE, mapFile(9, 16, 99, 0n, PAGE));
    p.refused("EINVAL", MAP_FILE, mapFile(9, 0, 99, 0n, PAGE));
    p.refused("ENOENT", MAP_FILE, mapFile(9, RW, 99, 0n, PAGE));
    p.refused("EINVAL", MAP_FILE, mapFile(ioas, RW, 99, 0n, 0n));
    p.refused("EOVERFLOW", MAP_FILE, mapFile(ioas, RW, 99, MAX - 5n, PAGE));
    p.refused("EBADF", MAP_FILE, mapFile(ioas, RW, 99, 0n, PAGE));
    p.refused("EBADF", MAP_FILE, mapFile(ioas, RW, -1, 0n, PAGE));
  });

  it("pins memory files when a page table shows them, and keeps them as long as mapped", () => {
    const p = new Program();
    const ioas = p.ioasAlloc();
    const file = new FakeFile(8192);
    const plain = p.process.install(new FakeFile(8192, false));
    const fd = p.process.install(file);
    p.ok(MAP_FILE, mapFile(ioas, RW | FIXED, plain, 0n, PAGE));
    p.ok(UNMAP, sized(ioas, IOVA, PAGE));
    p.ok(MAP_FILE, mapFile(ioas, RW | FIXED, fd, 0n, 8192n));
    assert.equal(file.kept, 1);
    assert.equal(file.pins.size, 0);
    p.ok(0x3b89, sized(0, p.bind(), ioas, 0, 0, 0, 0, 0n, 0, 0));
    assert.equal(file.pins.size, 2);
    p.ok(UNMAP, sized(ioas, IOVA, 8192n));
    assert.equal(file.kept, 0);
    p.refused("EINVAL", MAP_FILE, mapFile(ioas, RW | FIXED, plain, 0n, PAGE));
    p.refused("EINVAL", MAP_FILE, mapFile(ioas, RW | FIXED, fd, 0n, 12288n));
    file.truncate(0);
    p.refused("EINVAL", MAP_FILE, mapFile(ioas, RW | FIXED, fd, 0n, PAGE));
    const own = p.process.install(p.file);
    p.refused("EINVAL", MAP_FILE, mapFile(ioas, RW | FIXED, own, 0n, PAGE));
  });

  it("maps buffers of devices until they are revoked, for good", () => {
    const p = new Program();
    const ioas = p.ioasAlloc();
    p.ok(0x3b89, sized(0, p.bind(), ioas, 0, 0, 0, 0, 0n, 0, 0));
    const made = buffer(2);
    const fd = p.process.install(made);
    p.refused("EINVAL", MAP_FILE, mapFile(ioas, RW | FIXED, fd, PAGE, 8192n));
    p.ok(MAP_FILE, mapFile(ioas, RW | FIXED, fd, 0n, 8192n));
    const domain = p.file.iommufd.ioas(ioas).hwpts[0]?.domain;
    assert.notEqual(domain?.translate(Number(IOVA / 2048n)), undefined);
    made.revoke();
    assert.equal(domain?.translate(Number(IOVA / 2048n)), undefined);
    p.refused("ENODEV", MAP_FILE, sized(RW | FIXED, ioas, fd, 0n, PAGE, IOVA + 8192n));
    p.ok(UNMAP, sized(ioas, IOVA, 8192n));
    assert.equal(made.listeners, 0);
    made.isRevoked = false;
    p.ok(MAP_FILE, mapFile(ioas, RW | FIXED, fd, 0n, 8192n));
  });
});

describe("IOMMU_IOAS_CHANGE_PROCESS", () => {
  it("takes memory of files only", () => {
    const p = new Program();
    p.refused("EOPNOTSUPP", CHANGE_PROCESS, sized(1));
    p.ok(CHANGE_PROCESS, sized(0));
    const ioas = p.ioasAlloc();
    p.ok(0x3b89, sized(0, p.bind(), ioas, 0, 0, 0, 0, 0n, 0, 0));
    const fd = p.process.install(new FakeFile(4096));
    p.ok(MAP_FILE, sized(RW | FIXED, ioas, fd, 0n, PAGE, IOVA));
    const other = new FakeProcess(2);
    assert.equal(other.thread().ioctlBytes(p.file, CHANGE_PROCESS, sized(0)), 0);
    assert.equal(p.process.pinnedPages, 0);
    assert.equal(other.pinnedPages, 1);
    p.ok(MAP, map(ioas, RW, p.process.memory.allocPages(1), PAGE, 0n));
    p.refused("EINVAL", CHANGE_PROCESS, sized(0));
  });
});
