/**
 * Writes VT-d tables for tests and benchmarks, in the plainest way: bigints, no caching, no driver.
 *
 * It knows the layouts only as numbers of its own, so that a wrong constant in the product shows.
 */
import { VtdRegister } from "../../src/formats/index.js";
import type { VtdUnitOptions } from "../../src/iommu/index.js";
import { DmaAnswer, DmaRequest, type IommuPorts, VtdUnit } from "../../src/iommu/index.js";
import { PhysicalMemory } from "../../src/memory/index.js";

export type PageBytes = 0x1000 | 0x20_0000 | 0x4000_0000;

/** Anywhere tables lie: addresses go through `where` (identity, or stage 2 of a nested space). */
export interface TableSpace {
  /** A fresh zeroed frame: its address in the space. */
  readonly frame: () => bigint;
  /** From an address in the space to a physical one. */
  readonly where: (address: bigint) => bigint;
}

export class VtdTables {
  readonly memory: PhysicalMemory;
  readonly owner = { label: "test tables" };
  readonly host: TableSpace;

  constructor(memory = new PhysicalMemory()) {
    this.memory = memory;
    this.host = { frame: () => this.frame(), where: (address) => address };
  }

  frame(): bigint {
    const pfn = this.memory.allocateFrame(this.owner);
    if (pfn === undefined) throw new Error("out of frames");
    return BigInt(pfn) << 12n;
  }

  frames(count: number): bigint {
    const pfn = this.memory.allocateFrames(count, this.owner);
    if (pfn === undefined) throw new Error("out of frames");
    return BigInt(pfn) << 12n;
  }

  read(address: bigint): bigint {
    const bytes = new Uint8Array(8);
    this.memory.read(Number(address >> 12n), Number(address & 0xfffn), bytes);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }

  write(address: bigint, ...values: bigint[]): void {
    values.forEach((value, i) => {
      const at = address + BigInt(i) * 8n;
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value), true);
      this.memory.write(Number(at >> 12n), Number(at & 0xfffn), bytes);
    });
  }

  /** Address of the entry that maps `iova`; makes the tables above it with bits `table`. */
  entry(
    space: TableSpace,
    root: bigint,
    levels: number,
    iova: bigint,
    page: PageBytes,
    table: bigint,
  ): bigint {
    const last = page === 0x1000 ? 1 : page === 0x20_0000 ? 2 : 3;
    let at = root;
    for (let level = levels; ; level--) {
      const index = (iova >> BigInt(12 + 9 * (level - 1))) & 511n;
      const address = space.where(at + index * 8n);
      if (level === last) return address;
      let value = this.read(address);
      if ((value & 7n) === 0n) {
        value = space.frame() | table;
        this.write(address, value);
      }
      at = value & 0xf_ffff_ffff_f000n;
    }
  }

  /** Stage 2: read 1, write 2, snoop 1 << 11 … in `bits`. */
  map2(
    root: bigint,
    levels: number,
    iova: bigint,
    target: bigint,
    bits = 3n,
    page: PageBytes = 0x1000,
  ): bigint {
    const at = this.entry(this.host, root, levels, iova, page, 3n);
    this.write(at, target | bits | (page === 0x1000 ? 0n : 0x80n));
    return at;
  }

  /** Stage 1: present 1, write 2, user 4 … in `bits`. */
  map1(
    space: TableSpace,
    root: bigint,
    levels: number,
    iova: bigint,
    target: bigint,
    bits = 7n,
    page: PageBytes = 0x1000,
  ): bigint {
    const at = this.entry(space, root, levels, iova, page, 7n);
    this.write(at, target | bits | (page === 0x1000 ? 0n : 0x80n));
    return at;
  }

  /** Legacy: context entry of a requester. */
  context(root: bigint, requester: number, low: bigint, high: bigint): bigint {
    const rootEntry = root + BigInt(requester >>> 8) * 16n;
    if (this.read(rootEntry) === 0n) this.write(rootEntry, this.frame() | 1n);
    const at = (this.read(rootEntry) & ~0xfffn) + BigInt(requester & 255) * 16n;
    this.write(at, low, high);
    return at;
  }

  /** Scalable: context entry of a requester; the second word holds RID_PASID. */
  scalableContext(root: bigint, requester: number, low: bigint, high = 0n): bigint {
    const half = BigInt((requester >>> 7) & 1) * 8n;
    const rootEntry = root + BigInt(requester >>> 8) * 16n + half;
    if (this.read(rootEntry) === 0n) this.write(rootEntry, this.frame() | 1n);
    const at = (this.read(rootEntry) & ~0xfffn) + BigInt(requester & 127) * 32n;
    this.write(at, low, high);
    return at;
  }

  /** PASID entry of a directory, eight words. */
  pasidEntry(directory: bigint, pasid: number, ...words: bigint[]): bigint {
    const entry = directory + BigInt(pasid >>> 6) * 8n;
    if (this.read(entry) === 0n) this.write(entry, this.frame() | 1n);
    const at = (this.read(entry) & ~0xfffn) + BigInt(pasid & 63) * 64n;
    this.write(at, ...words);
    return at;
  }
}

export const NO_PORTS: IommuPorts = {
  invalidateDeviceTlb: () => true,
  answerPageGroup: () => {},
  sendInterrupt: () => {},
};

const COMMAND = { translation: 1 << 31, root: 1 << 30, queue: 1 << 26, table: 1 << 24 };

/** A unit with an invalidation queue, and shorthands to drive it. */
export class VtdBench {
  readonly tables: VtdTables;
  readonly unit: VtdUnit;
  readonly root: bigint;
  readonly queue: bigint;
  readonly request = new DmaRequest();
  readonly answer = new DmaAnswer();
  #tail = 0;
  #command = 0;

  constructor(
    mode: "legacy" | "scalable",
    options: VtdUnitOptions = {},
    ports: IommuPorts = NO_PORTS,
    tables = new VtdTables(),
  ) {
    this.tables = tables;
    this.unit = new VtdUnit(tables.memory, ports, options);
    this.root = tables.frame();
    this.queue = tables.frame();
    this.unit.writeRegister64(VtdRegister.queueAddress, this.queue);
    this.command(COMMAND.queue);
    const modeBits = mode === "legacy" ? 0n : 1n << 10n;
    this.unit.writeRegister64(VtdRegister.rootTable, this.root | modeBits);
    this.unit.writeRegister32(VtdRegister.globalCommand, (this.#command | COMMAND.root) >>> 0);
    this.command(COMMAND.translation);
  }

  /** Turns bits of the command register on. */
  command(bits: number): void {
    this.#command |= bits;
    this.unit.writeRegister32(VtdRegister.globalCommand, this.#command >>> 0);
  }

  /** Queues one descriptor of 16 bytes and lets the unit run. */
  submit(low: bigint, high = 0n): void {
    this.tables.write(this.queue + BigInt(this.#tail), low, high);
    this.#tail = (this.#tail + 16) % 4096;
    this.unit.writeRegister64(VtdRegister.queueTail, BigInt(this.#tail));
  }

  /** Translates an address: its target, or the fault's name. */
  ask(address: bigint, change: Partial<DmaRequest> = {}): bigint | string {
    const { request, answer, unit } = this;
    Object.assign(request, new DmaRequest(), change);
    request.lo = Number(BigInt.asIntN(32, address));
    request.hi = Number(BigInt.asIntN(32, address >> 32n));
    unit.translate(request, answer);
    if (answer.status === 2) return unit.faultName(answer.reason);
    if (answer.status === 1) return "interrupt";
    return (BigInt(answer.hi >>> 0) << 32n) | BigInt(answer.lo >>> 0);
  }
}
