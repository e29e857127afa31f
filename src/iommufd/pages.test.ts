/** Pins, domains, copies, accesses and accounting against a page-by-page model. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  device,
  refused,
  TestLocked,
  TestMemory,
  TestProcess,
  TestSystem,
} from "../../test/support/iommufd.js";
import { Random } from "../../test/support/random.js";
import { UapiError } from "../abi/index.js";
import type { MockPagingDomain } from "../driver/mock/index.js";
import { type Access, HwptFlag, MapFlag, type Pin, U64_MAX } from "./index.js";

const SEED = 9;
const RW = MapFlag.readable | MapFlag.writeable;
const FIXED = RW | MapFlag.fixedIova;
const PAGE = 4096n;
/** Inside the mock's aperture. */
const BASE = 0x1000000n;

function open() {
  const system = new TestSystem();
  const caller = new TestProcess();
  const fd = system.open(caller);
  const a = fd.bind({ dma: system.dma(0) });
  return { system, caller, fd, a, ioasId: fd.ioasAlloc() };
}

interface ModelArea {
  readonly space: number;
  readonly first: bigint;
  readonly bytes: bigint;
  readonly start: bigint;
  readonly object: number;
}

/** What the object layer must show, page by page. */
class Model {
  areas: ModelArea[] = [];
  /** Access pins: object and page. */
  pins: { readonly object: number; readonly pages: number[]; readonly pin: Pin }[] = [];
  readonly tables: number[][] = [[], []];

  /** Pins that each page of memory must have. */
  pinCounts(): Map<number, number> {
    const held = new Set<string>();
    for (const area of this.areas) {
      if ((this.tables[area.space] as number[]).length === 0) continue;
      const last = Number((area.start + area.bytes - 1n) >> 12n);
      for (let p = Number(area.start >> 12n); p <= last; p++) held.add(`${area.object}:${p}`);
    }
    for (const { object, pages } of this.pins) for (const p of pages) held.add(`${object}:${p}`);
    const out = new Map<number, number>();
    for (const key of held) {
      const page = Number(key.split(":")[1]);
      out.set(page, (out.get(page) ?? 0) + 1);
    }
    return out;
  }
}

describe("pages and domains", () => {
  it("show and pin what a page-by-page model does, over random steps", () => {
    const random = new Random(SEED);
    const { system, caller, fd, a, ioasId } = open();
    caller.memory.runPages = 3;
    const spaces = [ioasId, fd.ioasAlloc()];
    const access = fd.createAccess({ pinsPages: true });
    access.attach(fd.ioas(ioasId));
    const model = new Model();
    let nextObject = 0;
    for (let step = 0; step < 1500; step++) {
      const where = `seed ${SEED} step ${step}`;
      const space = random.below(2);
      const id = spaces[space] as number;
      const iova = BASE + BigInt(random.below(64)) * PAGE;
      const bytes = BigInt(1 + random.below(6)) * PAGE;
      const kind = random.below(12);
      try {
        if (kind < 4) {
          const userVa = BigInt(random.below(64)) * PAGE;
          fd.ioasMap({ ioasId: id, flags: FIXED, userVa, length: bytes, iova });
          model.areas.push({ space, first: iova, bytes, start: userVa, object: nextObject++ });
        } else if (kind < 6) {
          const from = model.areas[random.below(model.areas.length)];
          if (from === undefined) continue;
          fd.ioasCopy({
            srcIoasId: spaces[from.space] as number,
            srcIova: from.first,
            dstIoasId: id,
            dstIova: iova,
            length: from.bytes,
            flags: FIXED,
          });
          model.areas.push({ ...from, space, first: iova });
        } else if (kind < 9) {
          const gone = model.areas[random.below(model.areas.length)];
          if (gone === undefined) continue;
          const isPinned = model.pins.some(
            ({ pin }) =>
              gone.space === 0 &&
              pin.iova < gone.first + gone.bytes &&
              gone.first < pin.iova + pin.length,
          );
          if (isPinned) continue;
          fd.ioasUnmap(spaces[gone.space] as number, gone.first, gone.bytes);
          model.areas.splice(model.areas.indexOf(gone), 1);
        } else if (kind === 9) {
          const tables = model.tables[space] as number[];
          if (tables.length < 2) tables.push(fd.hwptAlloc({ devId: a.id, ptId: id }));
          else fd.destroy(tables.splice(random.below(2), 1)[0] as number);
        } else if (kind === 10) {
          const tables = model.tables[space] as number[];
          const gone = tables.pop();
          if (gone !== undefined) fd.destroy(gone);
        } else pinOrUnpin(random, model, access);
      } catch (error) {
        if (!UapiError.is(error) || !["EEXIST", "ENOENT"].includes(error.code)) throw error;
      }
      check(system, fd, caller.memory, model, spaces, where);
    }
    assert.equal(caller.pinnedPages, caller.memory.pinned);
    assert.equal(caller.userLocked.charged, caller.memory.pinned);
    access.close();
    fd.close();
    assert.equal(caller.memory.pinned, 0);
    assert.equal(caller.userLocked.charged, 0);
    assert.equal(fd.state.tables.sharedPages.size, 0);
    assert.deepEqual([...fd.state.tables.origins.all()], []);
  });
});

function pinOrUnpin(random: Random, model: Model, access: Access): void {
  const [old] = random.below(2) === 0 ? model.pins.splice(random.below(model.pins.length), 1) : [];
  if (old !== undefined) {
    access.unpin(old.pin);
    return;
  }
  const area = model.areas.filter((x) => x.space === 0)[random.below(8)];
  if (area === undefined) return;
  const skip = BigInt(random.below(Number(area.bytes / PAGE))) * PAGE;
  const pin = access.pin(area.first + skip, area.bytes - skip);
  const first = Number((area.start + skip) >> 12n);
  const pages = Array.from({ length: pin.frames.length }, (_, i) => first + i);
  model.pins.push({ object: area.object, pages, pin });
}

function check(
  system: TestSystem,
  fd: ReturnType<typeof open>["fd"],
  memory: TestMemory,
  model: Model,
  spaces: readonly number[],
  where: string,
): void {
  assert.deepEqual(sorted(memory.pins), sorted(model.pinCounts()), where);
  spaces.forEach((_, space) => {
    const areas = model.areas.filter((x) => x.space === space);
    const bytes = areas.reduce((sum, x) => sum + x.bytes, 0n);
    for (const table of model.tables[space] as number[]) {
      const domain = fd.hwpt(table)?.domain as MockPagingDomain;
      assert.equal(domain.mapped, Number(bytes >> 11n), where);
      for (const area of areas) {
        for (let at = 0n; at < area.bytes; at += PAGE) {
          const frame = memory.frameOf(Number((area.start + at) >> 12n));
          assert.equal(domain.translate(Number((area.first + at) >> 11n)), frame * 2, where);
        }
      }
    }
  });
  for (const { pin, pages } of model.pins) {
    assert.deepEqual(
      [...pin.frames],
      pages.map((p) => memory.frameOf(p)),
      where,
    );
  }
  assert.ok(system.driver.domains.length > 0 || model.tables.flat().length === 0);
}

const sorted = (map: ReadonlyMap<number, number>): [number, number][] =>
  [...map].sort((x, y) => x[0] - y[0]);

describe("domains of a space", () => {
  it("map areas whose memory starts inside a page", () => {
    const { fd, a, ioasId } = open();
    const args = { ioasId, flags: FIXED, length: 0x2800n };
    fd.ioasMap({ ...args, userVa: 0x10800n, iova: BASE + 0x800n });
    fd.ioasMap({ ...args, userVa: 0x20800n, iova: BASE + 0x4000n });
    const table = fd.hwptAlloc({ devId: a.id, ptId: ioasId });
    const domain = fd.hwpt(table)?.domain as MockPagingDomain;
    const base = Number(BASE >> 11n);
    const frame = (page: number): number => (0x100000 + page) * 2;
    const got = Array.from({ length: 6 }, (_, i) => domain.translate(base + i));
    const want = [undefined, frame(16) + 1, frame(17), frame(17) + 1, frame(18), frame(18) + 1];
    assert.deepEqual(got, want);
    const other = Array.from({ length: 5 }, (_, i) => domain.translate(base + 8 + i));
    const second = [frame(32) + 1, frame(33), frame(33) + 1, frame(34), frame(34) + 1];
    assert.deepEqual(other, second);
    fd.ioasUnmap(ioasId, BASE + 0x4000n, 0x2800n);
    assert.equal(domain.mapped, 5);
  });

  it("refuse areas outside the aperture, and of smaller alignment", () => {
    const { fd, a, ioasId } = open();
    fd.ioasMap({ ioasId, flags: RW, userVa: 0x1000n, length: PAGE });
    refused(() => fd.hwptAlloc({ devId: a.id, ptId: ioasId }), "EADDRINUSE");
    refused(() => fd.attach({ device: a, ptId: ioasId }), "EADDRINUSE");
    assert.equal(fd.ioas(ioasId).space.domains.length, 0);
    assert.equal(fd.ioasIovaRanges(ioasId).ranges.length, 1);
    fd.ioasUnmap(ioasId, 0n, U64_MAX);
    fd.ioasMap({ ioasId, flags: FIXED, userVa: 0x1000n, length: 0x400n, iova: BASE });
    refused(() => fd.hwptAlloc({ devId: a.id, ptId: ioasId }), "EADDRINUSE");
    fd.ioasUnmap(ioasId, 0n, U64_MAX);
    fd.hwptAlloc({ devId: a.id, ptId: ioasId });
    assert.equal(fd.ioasIovaRanges(ioasId).alignment, 2048);
    refused(() => fd.ioasAllowIovas(ioasId, [{ first: 0n, last: BASE }]), "EADDRINUSE");
  });

  it("roll back when memory is not there or the limit is reached", () => {
    const { fd, a, caller, ioasId } = open();
    fd.hwptAlloc({ devId: a.id, ptId: ioasId });
    caller.memory.end = 600;
    const args = { ioasId, flags: FIXED, userVa: 0n, iova: BASE };
    refused(() => fd.ioasMap({ ...args, length: 601n * PAGE }), "EFAULT");
    caller.userLocked.limit = 599;
    refused(() => fd.ioasMap({ ...args, length: 600n * PAGE }), "ENOMEM");
    assert.equal(caller.memory.pinned, 0);
    assert.equal(caller.userLocked.charged, 0);
    assert.equal(fd.ioas(ioasId).space.areas.size, 0);
    caller.mayLockMemory = true;
    fd.ioasMap({ ...args, length: 600n * PAGE });
    assert.equal(caller.userLocked.charged, 0);
    assert.equal(caller.pinnedPages, 600);
  });

  it("maps in pieces of a page when large pages are off", () => {
    const { system, fd, a, ioasId } = open();
    fd.setHugePages(ioasId, 0n);
    fd.hwptAlloc({ devId: a.id, ptId: ioasId });
    let calls = 0;
    const [domain] = system.driver.domains;
    const map = domain?.map.bind(domain);
    if (domain === undefined || map === undefined) throw new Error("no domain");
    domain.map = (...args) => {
      calls++;
      map(...args);
    };
    fd.ioasMap({ ioasId, flags: FIXED, userVa: 0n, length: 8n * PAGE, iova: BASE });
    assert.equal(calls, 8);
    refused(() => fd.ioasMap({ ioasId, flags: RW, userVa: 0x800n, length: PAGE }), "EINVAL");
    fd.setHugePages(ioasId, 1n);
    refused(() => fd.setHugePages(ioasId, 0n), "EINVAL");
  });

  it("takes frames from a page table when memory has changed since", () => {
    const { fd, a, caller, ioasId } = open();
    fd.hwptAlloc({ devId: a.id, ptId: ioasId });
    fd.ioasMap({ ioasId, flags: FIXED, userVa: 0n, length: PAGE, iova: BASE });
    caller.memory.base += 1000;
    const second = fd.hwptAlloc({ devId: a.id, ptId: ioasId });
    const domain = fd.hwpt(second)?.domain as MockPagingDomain;
    assert.equal(domain.translate(Number(BASE >> 11n)), 0x100000 * 2);
    const access = fd.createAccess({ pinsPages: true });
    access.attach(fd.ioas(ioasId));
    assert.equal(access.pin(BASE, PAGE).frames[0], 0x100000);
    assert.equal(caller.memory.pins.get(0), 1, "one pages object pins once");
  });
});

describe("accounting", () => {
  it("charges a process in mm mode, and moves files to another process", () => {
    const system = new TestSystem();
    const caller = new TestProcess();
    const fd = system.open(caller);
    fd.setRlimitMode(1n);
    const a = fd.bind({ dma: system.dma(0) });
    const ioasId = fd.ioasAlloc();
    fd.hwptAlloc({ devId: a.id, ptId: ioasId });
    const file = new TestMemory({ kind: "file", pages: 64 });
    const length = 4n * PAGE;
    fd.ioasMapFile({ ioasId, flags: FIXED, file, start: 0n, length, iova: BASE });
    assert.equal(caller.processLocked.charged, 4);
    const child = new TestProcess("process 2");
    child.processLocked.limit = 3;
    refused(() => fd.ioasChangeProcess(child), "ENOMEM");
    child.processLocked.limit = 4;
    fd.ioasChangeProcess(child);
    assert.deepEqual([caller.processLocked.charged, child.processLocked.charged], [0, 4]);
    assert.deepEqual([caller.pinnedPages, child.pinnedPages], [0, 4]);
    fd.ioasMap({ ioasId, flags: FIXED, userVa: 0n, length: PAGE, iova: BASE + 0x10000n });
    refused(() => fd.ioasChangeProcess(caller), "EINVAL");
    fd.ioasUnmap(ioasId, 0n, U64_MAX);
    assert.equal(child.processLocked.charged, 0);
    fd.ioasChangeProcess(caller);
  });

  it("is shared by processes of one user", () => {
    const system = new TestSystem();
    const shared = new TestLocked();
    shared.limit = 5;
    const [one, two] = [new TestProcess("process 1"), new TestProcess("process 2")];
    one.userLocked = shared;
    two.userLocked = shared;
    const fd = system.open(one);
    const a = fd.bind({ dma: system.dma(0) });
    const ioasId = fd.ioasAlloc();
    fd.hwptAlloc({ devId: a.id, ptId: ioasId });
    const args = { ioasId, flags: FIXED, userVa: 0n, length: 3n * PAGE, iova: BASE };
    fd.ioasMap(args);
    refused(() => fd.ioasMap({ ...args, iova: BASE * 2n }, { process: two }), "ENOMEM");
  });
});

describe("memory of a device", () => {
  it("is not charged, cannot be pinned, and goes when it is revoked", () => {
    const { fd, a, caller, ioasId } = open();
    const table = fd.hwptAlloc({ devId: a.id, ptId: ioasId });
    const file = new TestMemory({ kind: "device", pages: 16 });
    const args = { ioasId, flags: FIXED, file, fileSize: 0x10000n, start: 0n, length: 2n * PAGE };
    fd.ioasMapFile({ ...args, iova: BASE });
    fd.ioasCopy({
      srcIoasId: ioasId,
      dstIoasId: ioasId,
      srcIova: BASE,
      dstIova: BASE * 2n,
      length: PAGE,
      flags: FIXED,
    });
    assert.equal(caller.userLocked.charged, 0);
    const access = fd.createAccess({ pinsPages: true });
    access.attach(fd.ioas(ioasId));
    refused(() => access.pin(BASE, PAGE), "EINVAL");
    refused(() => access.readWrite(BASE, new Uint8Array(4)), "EINVAL");
    const domain = fd.hwpt(table)?.domain as MockPagingDomain;
    assert.equal(domain.mapped, 6);
    fd.revoke(file);
    assert.equal(domain.mapped, 0);
    assert.equal(file.pinned, 0);
    const later = fd.hwptAlloc({ devId: a.id, ptId: ioasId });
    const empty = fd.hwpt(later)?.domain as MockPagingDomain;
    assert.equal(empty.mapped, 0);
    assert.equal(fd.ioasUnmap(ioasId, 0n, U64_MAX), 3n * PAGE);
  });
});

describe("dirty bitmaps", () => {
  function start() {
    const opened = open();
    const { fd, a, ioasId } = opened;
    const flags = HwptFlag.dirtyTracking;
    const hwptId = fd.hwptAlloc({ devId: a.id, ptId: ioasId, flags });
    fd.ioasMap({ ioasId, flags: FIXED, userVa: 0n, length: 16n * PAGE, iova: BASE });
    return { ...opened, hwptId, domain: fd.hwpt(hwptId)?.domain as MockPagingDomain };
  }

  it("report and clear what was written", () => {
    const { fd, hwptId, domain } = start();
    fd.hwptSetDirtyTracking(hwptId, 1);
    domain.markDirty(Number(BASE >> 11n));
    domain.markDirty(Number(BASE >> 11n) + 20);
    const args = { hwptId, iova: BASE, length: 16n * PAGE, pageSize: PAGE };
    const read = (flags = 0): number[] => {
      const bitmap = new Uint8Array(2);
      fd.hwptGetDirtyBitmap({ ...args, flags, bitmap });
      return [...bitmap];
    };
    assert.deepEqual(read(1), [1, 4]);
    assert.deepEqual(read(), [1, 4]);
    assert.deepEqual(read(), [0, 0]);
    domain.markDirty(Number(BASE >> 11n));
    fd.hwptSetDirtyTracking(hwptId, 1);
    assert.deepEqual(read(), [0, 0], "enabling clears");
    domain.markDirty(Number(BASE >> 11n));
    const bitmap = new Uint8Array([0x80]);
    fd.hwptGetDirtyBitmap({ ...args, bitmap });
    assert.deepEqual([...bitmap], [0x81], "bits are only set");
  });

  it("stop at a hole without an error", () => {
    const { fd, ioasId, hwptId, domain } = start();
    const base = { ioasId, flags: FIXED, userVa: 0n, length: PAGE };
    fd.ioasMap({ ...base, iova: BASE + 0x20000n });
    domain.markDirty(Number(BASE >> 11n));
    domain.markDirty(Number((BASE + 0x20000n) >> 11n));
    const bitmap = new Uint8Array(5);
    const args = { hwptId, iova: BASE, length: 0x21000n, pageSize: PAGE, bitmap };
    fd.hwptGetDirtyBitmap(args);
    assert.deepEqual([...bitmap], [1, 0, 0, 0, 0]);
  });

  it("refuse in the kernel's order", () => {
    const { fd, a, ioasId, hwptId } = start();
    const bitmap = new Uint8Array(4);
    const good = { hwptId, iova: BASE, length: PAGE, pageSize: PAGE, bitmap };
    refused(() => fd.hwptGetDirtyBitmap({ ...good, flags: 2, hwptId: 99 }), "EOPNOTSUPP");
    refused(() => fd.hwptGetDirtyBitmap({ ...good, hwptId: ioasId }), "ENOENT");
    refused(() => fd.hwptGetDirtyBitmap({ ...good, length: U64_MAX }), "EOVERFLOW");
    refused(() => fd.hwptGetDirtyBitmap({ ...good, length: 0n }), "EOVERFLOW");
    fd.hwptGetDirtyBitmap({ ...good, iova: 0n, length: 0n });
    refused(() => fd.hwptGetDirtyBitmap({ ...good, iova: BASE + 1n }), "EINVAL");
    refused(() => fd.hwptGetDirtyBitmap({ ...good, pageSize: 0n }), "EINVAL");
    refused(() => fd.hwptGetDirtyBitmap({ ...good, pageSize: 0x2000n }), "EINVAL");
    const plain = fd.hwptAlloc({ devId: a.id, ptId: ioasId });
    refused(() => fd.hwptGetDirtyBitmap({ ...good, hwptId: plain }), "EOPNOTSUPP");
    refused(() => fd.hwptSetDirtyTracking(plain, 1), "EOPNOTSUPP");
    refused(() => fd.hwptSetDirtyTracking(99, 1), "ENOENT");
    refused(() => fd.hwptSetDirtyTracking(99, 2), "EOPNOTSUPP");
    assert.equal(device(0), a.function);
  });
});
