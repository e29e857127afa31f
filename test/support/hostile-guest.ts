/**
 * A guest with a table of its own: a stage-1 table in user memory, over an address space as stage
 * 2. Who may write there changes it, so the oracle walks the bytes as they must be, in its own way:
 * VT-d 5.0 § 3.6 (stage 1), § 3.8 (nested), § 9.7 (entries).
 *
 * Invariant: whenever bytes of user memory have changed, the guest has invalidated all of it before
 * the next request, so that no cache of the unit counts.
 */
import type { HostDriver, NestedDomain, PagingDomain } from "../../src/driver/index.js";
import type { Bdf } from "../../src/units/index.js";
import { type HostileMap, READ, WRITE } from "./hostile-oracle.js";
import type { Random } from "./random.js";

const LEVELS = 4;
/** Frames of the guest's tables, root first, in the space of stage 2. */
export const GUEST_TABLE = 0x20;
/** The page of the last of them in the guest's own space, and pages that it maps. */
export const GUEST_TABLE_LAST = 0x1c;
const FIRST = 0x10;
const COUNT = 12;
const PRESENT = 1;
const PAGE_SIZE = 0x80;
const TABLE_FLAGS = 7;
const CANONICAL = 2 ** 35;
const FRAMES = 2 ** 52;

/** User memory as it is and as it must be; frames from `first` on. */
export interface GuestMemory {
  readonly is: Uint8Array;
  readonly should: Uint8Array;
  readonly first: number;
}

export class HostileGuest {
  readonly nested: NestedDomain;
  /** Stage 2: what the guest's frames are. */
  readonly parent: ReadonlyMap<number, HostileMap>;
  /** Entries are there that the device has written. */
  isRewritten = false;
  readonly #memory: GuestMemory;
  readonly #view: DataView;
  /** Frames of user memory that hold the tables. */
  readonly #tables: readonly number[];

  /** Takes the last frames of user memory for tables and maps them in the parent. */
  constructor(
    driver: HostDriver,
    device: Bdf,
    space: { readonly domain: PagingDomain; readonly map: Map<number, HostileMap> },
    memory: GuestMemory,
    tables: readonly number[],
  ) {
    this.#memory = memory;
    this.#tables = tables;
    this.parent = space.map;
    const { should } = memory;
    this.#view = new DataView(should.buffer, should.byteOffset, should.byteLength);
    tables.forEach((pa, i) => {
      space.domain.map(GUEST_TABLE + i, pa, 1, READ | WRITE);
      space.map.set(GUEST_TABLE + i, { pa, perm: READ | WRITE });
    });
    const bytes = new DataView(new ArrayBuffer(24));
    bytes.setBigUint64(8, BigInt(GUEST_TABLE) << 12n, true);
    bytes.setUint32(16, 48, true);
    this.nested = driver.allocNested(device, space.domain, { type: 1, bytes }, { pasid: true });
  }

  holds(frame: number): boolean {
    return this.#tables.includes(frame);
  }

  /** A page that the guest may have mapped. */
  page(random: Random): number {
    return FIRST + random.below(GUEST_TABLE_LAST - FIRST + 1);
  }

  /** The guest's software makes its tables anew. */
  fill(random: Random): void {
    const [top = 0] = this.#tables;
    const at = (top - this.#memory.first) * 4096;
    const size = this.#tables.length * 4096;
    this.#memory.should.fill(0, at, at + size);
    for (let i = 0; i < LEVELS - 1; i++) this.#write(i, 0, GUEST_TABLE + i + 1, TABLE_FLAGS);
    this.#write(LEVELS - 1, GUEST_TABLE_LAST, GUEST_TABLE + LEVELS - 1, TABLE_FLAGS);
    for (let i = 0; i < COUNT; i++) this.#setLeaf(random, FIRST + i);
    this.#publish(at, size);
    this.isRewritten = false;
  }

  /** The guest's software changes one entry. */
  change(random: Random): void {
    this.#setLeaf(random, FIRST + random.below(COUNT));
    const last = this.#tables.at(-1) ?? 0;
    this.#publish((last - this.#memory.first) * 4096, 4096);
  }

  /** An entry as a device may wish it: the low half, and the high one is zero. */
  wish(random: Random): number {
    const frames = [...this.parent.keys()].filter((frame) => frame < 0x10_0000);
    const frame = random.below(4) === 0 ? random.below(0x10_0000) : random.pick(frames);
    return (frame * 4096 + random.pick([7, 7, 7, 5, 3, 0x87, 0])) >>> 0;
  }

  /** Both stages forget everything that they keep of the guest's. */
  invalidate(): void {
    const entry = new DataView(new ArrayBuffer(24));
    entry.setBigUint64(8, (1n << 64n) - 1n, true);
    this.nested.invalidate?.(0, { entryBytes: 24, count: 1, done: 0, entry: () => entry });
  }

  /** What a request of a user for this page meets. */
  walk(pfn: number): HostileMap | undefined {
    if (pfn >= CANONICAL && pfn < FRAMES - CANONICAL) return undefined;
    let table = GUEST_TABLE;
    let granted = 6;
    for (let level = LEVELS; level > 0; level--) {
      const span = 512 ** (level - 1);
      const place = this.#place(table, Math.floor(pfn / span) % 512);
      if (place === undefined) return undefined;
      const lo = this.#view.getUint32(place, true);
      const hi = this.#view.getUint32(place + 4, true);
      // Execute-disable is reserved where no request may execute.
      if ((lo & PRESENT) === 0 || hi >>> 31 !== 0) return undefined;
      granted &= lo;
      const frame = (hi & 0xf_ffff) * 0x10_0000 + (lo >>> 12);
      const isLarge = level > 1 && (lo & PAGE_SIZE) !== 0;
      if (level > 1 && !isLarge) {
        table = frame;
        continue;
      }
      // Bit 12 of a large page is no address bit; those above it must be zero.
      if (level === LEVELS || (isLarge && (frame % span) >>> 1 !== 0)) return undefined;
      const first = frame - (frame % span);
      return this.#stage2(first + (pfn % span), granted);
    }
    return undefined;
  }

  #stage2(frame: number, granted: number): HostileMap | undefined {
    const entry = this.parent.get(frame);
    if (entry === undefined || (granted & 4) === 0) return undefined;
    const perm = entry.perm & ((granted & 2) !== 0 ? READ | WRITE : READ);
    return { pa: entry.pa, perm };
  }

  /** Where an entry lies in user memory; it must be readable, and writable for its marks. */
  #place(table: number, index: number): number | undefined {
    const entry = this.parent.get(table);
    if (entry === undefined || entry.perm !== (READ | WRITE)) return undefined;
    const at = (entry.pa - this.#memory.first) * 4096;
    if (at < 0 || at >= this.#memory.should.length) return undefined;
    return at + index * 8;
  }

  #setLeaf(random: Random, index: number): void {
    const frame = random.pick([...this.parent.keys()]);
    this.#write(LEVELS - 1, index, frame, random.pick([7, 7, 5, 3, 0]));
  }

  #write(table: number, index: number, frame: number, flags: number): void {
    const pa = this.#tables[table] ?? 0;
    const at = (pa - this.#memory.first) * 4096 + index * 8;
    this.#view.setBigUint64(at, BigInt(frame) * 4096n + BigInt(flags), true);
  }

  #publish(at: number, size: number): void {
    this.#memory.is.set(this.#memory.should.subarray(at, at + size), at);
    this.invalidate();
  }
}
