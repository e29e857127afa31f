/** Accesses: pins, reads and writes, notification, moving to another space. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { refused, TestProcess, TestSystem } from "../../test/support/iommufd.js";
import { type Access, type AccessOptions, MapFlag, U64_MAX } from "./index.js";

const RW = MapFlag.readable | MapFlag.writeable;
const FIXED = RW | MapFlag.fixedIova;
const PAGE = 4096n;

function open(options: Partial<AccessOptions> = {}) {
  const system = new TestSystem();
  const caller = new TestProcess();
  const fd = system.open(caller);
  const ioasId = fd.ioasAlloc();
  const access = fd.createAccess({ pinsPages: true, ...options });
  access.attach(fd.ioas(ioasId));
  const map = (iova: bigint, userVa: bigint, length = PAGE, flags = FIXED): bigint =>
    fd.ioasMap({ ioasId, flags, userVa, length, iova });
  return { system, caller, fd, ioasId, access, map };
}

describe("pins of an access", () => {
  it("hold pages once, over several areas", () => {
    const { caller, fd, ioasId, access, map } = open();
    map(0x1000n, 0x10000n, 0x2000n);
    map(0x3000n, 0x50000n);
    const pin = access.pin(0x2000n, 0x2000n);
    assert.deepEqual([...pin.frames], [0x100011, 0x100050]);
    const again = access.pin(0x2000n, PAGE);
    assert.equal(caller.memory.pinned, 2);
    assert.equal(caller.userLocked.charged, 2);
    access.unpin(pin);
    assert.equal(caller.memory.pinned, 1);
    access.unpin(again);
    assert.throws(() => access.unpin(again), RangeError);
    assert.equal(caller.memory.pinned, 0);
    fd.ioasUnmap(ioasId, 0n, U64_MAX);
    assert.equal(fd.state.tables.sharedPages.size, 0);
  });

  it("refuse as the kernel does and leave nothing pinned", () => {
    const { caller, fd, access, map } = open();
    map(0x1000n, 0x10000n);
    map(0x2000n, 0x20000n, PAGE, MapFlag.writeable | MapFlag.fixedIova);
    map(0x3000n, 0x30000n, PAGE, MapFlag.readable | MapFlag.fixedIova);
    refused(() => access.pin(0x1000n, 0n), "EINVAL");
    refused(() => access.pin(U64_MAX, 2n), "EOVERFLOW");
    refused(() => access.pin(0x1000n, 0x2000n), "EPERM");
    refused(() => access.pin(0x2000n, 0x2000n, { write: true }), "EPERM");
    refused(() => access.pin(0x3000n, 0x2000n), "ENOENT");
    refused(() => access.pin(0x800n, PAGE), "ENOENT");
    refused(() => access.pin(0x1800n, 0x800n), "EINVAL");
    caller.memory.end = 0x10;
    refused(() => access.pin(0x1000n, PAGE), "EFAULT");
    assert.equal(caller.memory.pinned, 0);
    assert.equal(fd.ioas(access.ioas?.id ?? 0).space.accessPins.size, 0);
    access.detach();
    refused(() => access.pin(0x1000n, PAGE), "ENOENT");
    const reader = fd.createAccess({ pinsPages: false });
    refused(() => reader.pin(0x1000n, PAGE), "EINVAL");
  });

  it("are asked for before an unmap; a holder that keeps them stops it", () => {
    let keeps = true;
    const asked: [bigint, bigint][] = [];
    const unmap = (access: Access, iova: bigint, length: bigint): void => {
      asked.push([iova, length]);
      if (!keeps) access.unpinRange(iova, length);
    };
    const { fd, ioasId, access, map } = open({ unmap });
    map(0x1000n, 0x10000n, 0x2000n);
    const pin = access.pin(0x1000n, PAGE);
    refused(() => fd.ioasUnmap(ioasId, 0x1000n, 0x2000n), "EDEADLK");
    assert.deepEqual(asked[0], [0x1000n, 0x2000n]);
    assert.equal(asked.length, 101);
    refused(() => access.pin(0x2000n, PAGE), "EINVAL");
    refused(() => access.readWrite(0x2000n, new Uint8Array(1)), "EINVAL");
    keeps = false;
    assert.equal(fd.ioasUnmap(ioasId, 0x1000n, 0x2000n), 0x2000n);
    assert.throws(() => access.unpin(pin), RangeError);
  });

  it("raise the alignment of the space, if its mappings allow", () => {
    const { fd } = open();
    const ioasId = fd.ioasAlloc();
    fd.ioasMap({ ioasId, flags: RW, userVa: 0x1800n, length: 0x800n });
    const other = fd.createAccess({ pinsPages: true });
    refused(() => other.attach(fd.ioas(ioasId)), "EADDRINUSE");
    fd.ioasUnmap(ioasId, 0n, U64_MAX);
    other.attach(fd.ioas(ioasId));
    assert.equal(fd.ioasIovaRanges(ioasId).alignment, 4096);
    refused(() => other.attach(fd.ioas(ioasId)), "EINVAL");
    other.close();
    assert.equal(fd.ioasIovaRanges(ioasId).alignment, 1);
  });
});

describe("an access", () => {
  it("reads and writes any bytes, as far as they are mapped", () => {
    const { caller, access, map } = open({ pinsPages: false });
    map(0x1000n, 0x10800n, 0x1000n);
    map(0x2000n, 0x50000n);
    const sent = Uint8Array.from({ length: 0x1100 }, (_, i) => i & 0xff);
    access.readWrite(0x1080n, sent, { write: true });
    const got = new Uint8Array(sent.length);
    access.readWrite(0x1080n, got);
    assert.deepEqual(got, sent);
    assert.equal(caller.memory.bytes.get(0x10)?.[0x880], sent[0]);
    assert.equal(caller.memory.bytes.get(0x50)?.[0], sent[0xf80]);
    assert.equal(caller.memory.pinned, 0);
    const over = new Uint8Array(0x20);
    refused(() => access.readWrite(0x2ff0n, over.fill(9)), "ENOENT");
    assert.deepEqual([...over.subarray(0, 17)], [...new Uint8Array(16), 9], "up to the hole");
    refused(() => access.readWrite(0x1000n, new Uint8Array(0)), "EINVAL");
    refused(() => access.readWrite(U64_MAX, new Uint8Array(2)), "EOVERFLOW");
    caller.memory.end = 0;
    refused(() => access.readWrite(0x1000n, new Uint8Array(1)), "EFAULT");
  });

  it("keeps to the permission of a mapping", () => {
    const { access, map } = open();
    map(0x1000n, 0n, PAGE, MapFlag.readable | MapFlag.fixedIova);
    refused(() => access.readWrite(0x1000n, new Uint8Array(1), { write: true }), "EPERM");
    map(0x2000n, 0n, PAGE, MapFlag.writeable | MapFlag.fixedIova);
    refused(() => access.readWrite(0x2000n, new Uint8Array(1)), "EPERM");
  });

  it("moves to another space, which is busy while it is there", () => {
    const { caller, fd, ioasId, access, map } = open({ unmap: (a, i, n) => a.unpinRange(i, n) });
    map(0x1000n, 0n);
    access.pin(0x1000n, PAGE);
    const other = fd.ioasAlloc();
    access.replace(fd.ioas(other));
    assert.equal(caller.memory.pinned, 0);
    fd.destroy(ioasId);
    refused(() => fd.destroy(other), "EBUSY");
    refused(() => fd.destroy(access.id), "EBUSY");
    access.detach();
    refused(() => access.replace(fd.ioas(other)), "ENOENT");
    fd.destroy(other);
    access.close();
    assert.equal(fd.state.objects.size, 0);
  });

  it("stays where it is when the other space does not suit", () => {
    const { fd, ioasId, access, map } = open();
    map(0x1000n, 0n);
    access.pin(0x1000n, PAGE);
    const other = fd.ioasAlloc();
    fd.ioasMap({ ioasId: other, flags: RW, userVa: 0x1800n, length: 0x800n });
    refused(() => access.replace(fd.ioas(other)), "EADDRINUSE");
    assert.equal(access.ioas?.id, ioasId);
    assert.equal(access.pinCount, 1);
  });
});

describe("nesting in software", () => {
  const BASE = 0x1000000n;

  function nested(policy?: "refuse") {
    const opened = open();
    const { fd, system } = opened;
    const parentId = fd.ioasAlloc();
    const childId = fd.nestedIoasAlloc(parentId, policy);
    const a = fd.bind({ dma: system.dma(0) });
    fd.attach({ device: a, ptId: childId });
    const [domain] = system.driver.domains;
    if (domain === undefined) throw new Error("no page table");
    const at = (iova: bigint): number | undefined => domain.translate(Number(iova >> 11n));
    return { ...opened, parentId, childId, a, at };
  }

  it("shows the parent's memory, pinned and charged once (S27)", () => {
    const { caller, fd, parentId, childId, a, at } = nested();
    const parent = { ioasId: parentId, flags: FIXED };
    fd.ioasMap({ ...parent, userVa: 0x40001000n, length: PAGE, iova: BASE });
    const iova = BASE + 0x2000n;
    const child = { childId, flags: FIXED, iova, parentIova: BASE, length: PAGE };
    assert.equal(fd.nestedIoasMap(child), iova);
    assert.equal(at(iova), (0x100000 + 0x40001) * 2);
    fd.hwptAlloc({ devId: a.id, ptId: parentId });
    assert.equal(caller.userLocked.charged, 1);
    refused(() => fd.destroy(parentId), "EBUSY");
    fd.ioasUnmap(parentId, BASE, PAGE);
    assert.equal(at(iova), undefined, "the shadow goes with the parent's mapping");
    refused(() => fd.nestedIoasMap(child), "ENOENT");
    assert.equal(caller.memory.pinned, 0);
  });

  it("follows each parent area, keeps the others, or refuses", () => {
    const { fd, parentId, childId, at } = nested();
    const parent = { ioasId: parentId, flags: FIXED, length: PAGE };
    fd.ioasMap({ ...parent, userVa: 0x1000n, iova: BASE });
    fd.ioasMap({ ...parent, userVa: 0x9000n, iova: BASE + PAGE });
    const length = 2n * PAGE;
    fd.nestedIoasMap({ childId, flags: FIXED, iova: BASE, parentIova: BASE, length });
    fd.ioasUnmap(parentId, BASE, PAGE);
    assert.equal(at(BASE), undefined);
    assert.equal(at(BASE + PAGE), 0x100009 * 2);
    const strict = nested("refuse");
    strict.fd.ioasMap({ ...parent, ioasId: strict.parentId, userVa: 0x1000n, iova: BASE });
    const args = { childId: strict.childId, flags: FIXED, parentIova: BASE, length: PAGE };
    strict.fd.nestedIoasMap({ ...args, iova: BASE });
    refused(() => strict.fd.ioasUnmap(strict.parentId, BASE, PAGE), "EBUSY");
    strict.fd.ioasUnmap(strict.childId, BASE, PAGE);
    strict.fd.ioasUnmap(strict.parentId, BASE, PAGE);
  });

  it("needs a nested space, and addresses that are some", () => {
    const { fd, ioasId, childId } = nested();
    const args = { childId: ioasId, flags: FIXED, parentIova: 0n, length: PAGE };
    refused(() => fd.nestedIoasMap(args), "EINVAL");
    refused(() => fd.nestedIoasMap({ ...args, childId, length: U64_MAX }), "EOVERFLOW");
    refused(() => fd.nestedIoasAlloc(99), "ENOENT");
  });
});
