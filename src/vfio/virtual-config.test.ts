/** Configuration space as a user sees it, by rule, and random accesses against a naive model. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { at, ENGINE, failed, STUB, VfioBench } from "../../test/support/vfio-machine.js";
import { VirtualConfig } from "./virtual-config.js";

const CONFIG = 7;
const SEED = 20_260_724;

function open(name = "engine", device: object = ENGINE) {
  const bench = new VfioBench({ devices: [device] });
  const fd = bench.bound(name);
  const bdf = bench.bdf(name);
  const { machine } = bench.system;
  return {
    bench,
    fd,
    get: (offset: number, length: 1 | 2 | 4) => bench.get(fd, CONFIG, offset, length),
    set: (offset: number, length: number, value: number) =>
      bench.set(fd, CONFIG, offset, length, value),
    real: (offset: number, length: 1 | 2 | 4) => machine.configRead(bdf, offset, length),
    find: (id: number, extended = false) =>
      bench.files.table.find(bdf)?.config.map.find(id, extended)?.offset ?? 0,
  };
}

describe("the header", () => {
  it("begins with memory on and bus mastering off, and lets the user switch", () => {
    const { get, set, real } = open();
    assert.equal(get(4, 2) & 6, 2);
    set(4, 2, 6);
    assert.equal(get(4, 2) & 6, 6);
    assert.equal(real(4, 2) & 6, 6);
  });

  it("begins with the pin enabled, and is left as it was, but decoding memory", () => {
    const bench = new VfioBench({ devices: [ENGINE] });
    const registers = bench.system.machine.registers(bench.bdf("engine"));
    registers?.write(4, 2, 0x0400);
    const before = registers?.read(4, 2);
    const fd = bench.bound("engine");
    assert.equal(bench.get(fd, CONFIG, 4, 2) & 0x406, 2);
    bench.set(fd, CONFIG, 4, 2, 0x0146);
    bench.close(fd);
    assert.equal(registers?.read(4, 2), (before ?? 0) | 2);
  });

  it("keeps the interrupt disable bit and the line for the user", () => {
    const { get, set, real } = open();
    const before = real(4, 2) & 0x400;
    set(4, 2, 0x406);
    assert.equal(get(4, 2) & 0x400, 0x400);
    assert.equal(real(4, 2) & 0x400, before);
    set(0x3c, 1, 0x5b);
    assert.deepEqual([get(0x3c, 1), real(0x3c, 1) === 0x5b], [0x5b, false]);
  });

  it("sizes BARs without moving them", () => {
    const { get, set, real } = open();
    const base = real(0x10, 4);
    set(0x10, 4, 0xffff_ffff);
    assert.equal(get(0x10, 4), 0xffff_8000);
    set(0x18, 4, 0xffff_ffff);
    set(0x1c, 4, 0xffff_ffff);
    assert.deepEqual([get(0x18, 4), get(0x1c, 4)], [0xffff_000c, 0xffff_ffff]);
    set(0x14, 4, 0xffff_ffff);
    set(0x30, 4, 0xffff_ffff);
    assert.deepEqual([get(0x14, 4), get(0x30, 4)], [0, 0]);
    set(0x11, 1, 0x43);
    assert.equal(get(0x10, 4), 0xffff_0000, "bytes of a BAR are masked like the whole");
    assert.equal(real(0x10, 4), base);
  });

  it("does not take what is read only, nor accesses beyond the end", () => {
    const { bench, fd, get, set } = open();
    const [ids, status] = [get(0, 4), get(6, 2)];
    set(0, 4, 0);
    set(6, 2, 0xffff);
    set(0x34, 1, 0);
    assert.deepEqual([get(0, 4), get(6, 2)], [ids, status]);
    const read = (offset: number, length: number) =>
      bench.call.read(bench.file(fd), length, at(CONFIG, offset));
    assert.equal((read(0, 4096) as Uint8Array).length, 4096);
    failed(read(4094, 4), "EFAULT");
    failed(read(4096, 1), "EFAULT");
    assert.equal(bench.call.write(bench.file(fd), new Uint8Array(7), at(CONFIG, 0x0d)), 7);
  });
});

describe("capabilities", () => {
  it("MSI-X shows what the device has, and takes nothing", () => {
    const { bench, fd, get, set, find } = open();
    const msix = find(0x11);
    set(msix + 2, 2, 0x8000);
    assert.equal(get(msix + 2, 2) & 0x8000, 0);
    assert.equal(get(msix + 2, 2) & 0x7ff, 7);
    assert.equal(bench.get(fd, CONFIG, msix, 1), 0x11);
  });

  it("a function-level reset by the register happens, and the bit reads zero", () => {
    const { bench, fd, get, set, real, find } = open();
    const control = find(0x10) + 8;
    set(4, 2, 6);
    bench.set(fd, 0, 0x1020, 4, 0x1234);
    set(control, 2, get(control, 2) | 0x8000);
    assert.equal(get(control, 2) & 0x8000, 0);
    assert.equal(bench.get(fd, 0, 0x1020, 4), 0);
    assert.equal(real(4, 2) & 6, 6);
  });

  it("payload size is the user's, read request size not below the device's payload", () => {
    const { get, set, real, find } = open();
    const control = find(0x10) + 8;
    const payload = real(control, 2) & 0xe0;
    set(control, 2, 0x50a0);
    assert.equal(get(control, 2) & 0x70e0, 0x50a0);
    assert.equal(real(control, 2) & 0xe0, payload);
    assert.equal(real(control, 2) & 0x7000, 0x5000);
  });

  it("PASID and what VFIO does not know are hidden, their place in the chain stays", () => {
    const device = { ...ENGINE, pasid: { width: 16 }, ats: true };
    const { get, find, real } = open("engine", device);
    const pasid = find(0x1b, true);
    assert.notEqual(pasid, 0);
    assert.equal(real(pasid, 4) & 0xffff, 0x1b);
    assert.equal(get(pasid, 4), real(pasid, 4) & 0xffc0_0000);
    const ats = find(0x0f, true);
    assert.equal(get(ats, 4), real(ats, 4));
  });

  it("ATS and SR-IOV cannot be switched by the user", () => {
    const { get, set, find } = open("engine", { ...ENGINE, ats: true });
    const control = find(0x0f, true) + 6;
    const before = get(control, 2);
    set(control, 2, before ^ 0x8000);
    assert.equal(get(control, 2), before);
  });
});

describe("a VF", () => {
  it("has the ids of its kind, memory always on, and no pin", () => {
    const pf = { ...STUB, name: "pf", sriov: { vfs: 2, device: 0x1889, each: { flr: true } } };
    const bench = new VfioBench({ devices: [pf] });
    const vf = bench.system.virtualOf(bench.bdf("pf"))[0];
    assert.ok(vf !== undefined);
    const { machine } = bench.system;
    assert.equal(machine.configRead(vf, 0, 4), 0xffff_ffff);
    const device = bench.files.table.open(vf);
    assert.deepEqual([...device.config.read(0, 4)], [0x86, 0x80, 0x89, 0x18]);
    assert.equal(device.config.read(4, 2)[0], 2);
    assert.equal(device.memoryEnabled, true);
    assert.equal(device.config.read(0x3d, 1)[0], 0);
    bench.files.table.close(device);
  });
});

/** A device of 256 bytes that keeps whatever is written, with power management at 0x40. */
function rawDevice() {
  const bytes = new Uint8Array(256);
  bytes.set([0x86, 0x80, 0x34, 0x12, 2, 0, 0x10, 0]);
  bytes[0x34] = 0x40;
  bytes.set([0x01, 0x50, 0x03, 0xf8, 0, 0, 0, 0], 0x40);
  bytes.set([0x09, 0x60, 0x10, 0xaa], 0x50);
  bytes.set([0x0d, 0x00, 0x00, 0x00, 0x11, 0x11, 0x22, 0x22], 0x60);
  bytes[0x10] = 0x00;
  return {
    bytes,
    read: (offset: number, length: number) => {
      let value = 0;
      for (let i = length - 1; i >= 0; i--) value = value * 256 + (bytes[offset + i] ?? 0);
      return value;
    },
    write: (offset: number, length: number, value: number) => {
      for (let i = 0; i < length; i++) bytes[offset + i] = (value >>> (8 * i)) & 0xff;
    },
  };
}

/**
 * The same, thought of byte by byte: each bit is the device's or the user's, and may be written or
 * not. Written down from the rules, not from the tables.
 */
class NaiveConfig {
  readonly real: Uint8Array;
  readonly own: Uint8Array;
  readonly isOwn = new Uint8Array(256);
  readonly isOpen = new Uint8Array(256).fill(0xff);

  constructor(real: Uint8Array) {
    this.real = real.slice();
    this.own = real.slice();
    this.isOpen.fill(0, 0, 0x48);
    const mark = (first: number, last: number, own: number, open: number) => {
      this.isOwn.fill(own, first, last + 1);
      this.isOpen.fill(open, first, last + 1);
    };
    mark(0x00, 0x03, 0xff, 0);
    mark(0x04, 0x05, 0, 0xff);
    this.isOwn[0x05] = 0x04;
    this.isOwn[0x06] = 0x10;
    mark(0x0c, 0x0d, 0, 0xff);
    mark(0x0f, 0x0f, 0, 0xff);
    // BAR 0 of 64 KiB of memory; nothing else is there.
    mark(0x10, 0x27, 0xff, 0);
    this.isOpen.fill(0xff, 0x12, 0x14);
    mark(0x30, 0x33, 0xff, 0);
    mark(0x34, 0x34, 0xff, 0);
    mark(0x3c, 0x3c, 0xff, 0xff);
    mark(0x3d, 0x3d, 0xff, 0);
    this.own[0x43] = 0;
    this.isOwn[0x41] = 0xff;
    this.isOwn[0x43] = 0xf8;
    this.isOwn[0x45] = 0x81;
    this.isOwn[0x44] = 0;
    mark(0x46, 0x47, 0, 0xff);
    this.isOpen[0x44] = 0xfc;
    this.isOpen[0x45] = 0x7e;
    // The capability at 0x60 is hidden: the link before it ends the chain, and its bytes are open.
    this.own[0x51] = 0;
  }

  read(at: number): number {
    // A vendor capability shows the user's link.
    const own = at === 0x51 ? 0xff : (this.isOwn[at] ?? 0);
    return ((this.own[at] ?? 0) & own) | ((this.real[at] ?? 0) & ~own & 0xff);
  }

  write(at: number, value: number): void {
    const own = at === 0x51 ? 0 : (this.isOwn[at] ?? 0);
    const open = this.isOpen[at] ?? 0;
    const put = (bytes: Uint8Array, mask: number) => {
      bytes[at] = ((bytes[at] ?? 0) & ~mask) | (value & mask);
    };
    put(this.own, own & open);
    put(this.real, ~own & open & 0xff);
  }
}

describe("random accesses", () => {
  it("find each bit where the rules put it", () => {
    const access = fc.record({
      offset: fc.nat(255),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 9 }),
      writes: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(access, { maxLength: 60 }), (accesses) => {
        const device = rawDevice();
        const bars = [{ size: 0x10000n, flags: 0 }];
        const effects = {
          msiQueue: () => undefined,
          memoryOff: () => {},
          commandWritten: () => {},
          intxDisabled: () => {},
          reset: () => {},
          setPowerState: () => {},
        };
        const identity = { size: 256, virtual: undefined, bars };
        const config = new VirtualConfig(device, identity, effects);
        const naive = new NaiveConfig(device.bytes);
        for (const { offset, bytes, writes } of accesses) {
          const length = Math.min(bytes.length, 256 - offset);
          if (writes) {
            config.write(offset, bytes.subarray(0, length));
            for (let i = 0; i < length; i++) naive.write(offset + i, bytes[i] ?? 0);
          }
          const expected = Array.from({ length }, (_, i) => naive.read(offset + i));
          assert.deepEqual([...config.read(offset, length)], expected, `at ${offset}`);
        }
        assert.deepEqual(device.bytes, naive.real);
      }),
      { seed: SEED, numRuns: 200 },
    );
  });
});
