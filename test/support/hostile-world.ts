/**
 * A hostile host that runs, under observation: every byte that a device could reach is kept twice,
 * as it is and as the oracle says it must be. Memory is observed in its backing buffer, BARs by
 * probes in place of the functions' own, tables in their frames, interrupts at the processors.
 */
import type { BarAccess } from "../../src/devices/index.js";
import { HostDriver, machineHost, type PagingDomain } from "../../src/driver/index.js";
import { type DeliveredInterrupt, hardwareRouting, Machine } from "../../src/machine/index.js";
import { BufferBacking } from "../../src/memory/index.js";
import { buildPlatform, readPlatform } from "../../src/platform/index.js";
import { type Bdf, makePasid } from "../../src/units/index.js";
import { differ, fill, hideMarks } from "./hostile-bytes.js";
import {
  addInterrupts,
  behindBridges,
  chooseIovas,
  mayNest,
  mayUsePasids,
  modeOf,
  senderOf,
} from "./hostile-facts.js";
import { HostileGuest } from "./hostile-guest.js";
import {
  bdfOfNode,
  type HostileHost,
  type HostileNode,
  isBehindSecond,
  isCovered,
  isOwned,
  ridOfNode,
} from "./hostile-host.js";
import {
  type HostileMap,
  HostileOracle,
  HostileRows,
  READ,
  rowKey,
  WRITE,
} from "./hostile-oracle.js";
import { platformOf } from "./hostile-platform.js";
import { HostileRecorder } from "./hostile-recorder.js";
import type { Random } from "./random.js";

const PAGE = 4096;
/** Small pages; with large ones 2 MiB follow. */
export const MEMORY_PAGES = 64;
/** What follows is for a guest's tables. */
const DATA_PAGES = MEMORY_PAGES - 4;
const LARGE_PAGES = 512;
const LARGE_IOVA = 0x4_0000;
export const MEMORY_FIRST = 0x40_0000;
export const PASIDS = [1, 5, 7] as const;
const GUEST_PASID = 7;
const FLAGS = { nestParent: false, dirtyTracking: false, pasid: false, userAllocated: false };

/** What one (function, PASID) or alias set has. */
interface Slot {
  readonly index: number;
  readonly members: readonly HostileNode[];
  /** -1: requests without one. */
  readonly pasid: number;
  readonly domain: PagingDomain;
  readonly map: Map<number, HostileMap>;
  /** Rows that lead to it. */
  readonly keys: readonly number[];
  attached: boolean;
  /** Its table is one of stage 1: what can be written can be read. */
  readonly stage1: boolean;
  /** Its table is the guest's, over `domain`; what the guest maps is not in `map`. */
  readonly guest: HostileGuest | undefined;
  /** Holds the large page. */
  large: boolean;
}

export class HostileWorld {
  readonly host: HostileHost;
  readonly machine: Machine;
  readonly driver: HostDriver;
  readonly rows = new HostileRows();
  readonly recorder: HostileRecorder;
  readonly oracle: HostileOracle;
  readonly attacker: Bdf;
  readonly memory: BufferBacking;
  /** Frames of user memory. */
  readonly memoryPages: number;
  /** The engine's registers, as its own software sees them. */
  readonly engine: BarAccess;
  readonly memoryShadow: Uint8Array;
  /** All BARs, by page of the MMIO range: byte `barAt(page)`. */
  readonly bars: Uint8Array;
  readonly barShadow: Uint8Array;
  readonly interrupts: DeliveredInterrupt[] = [];
  /** IOVAs that some map has or had. */
  readonly iovas: number[] = [];
  /** Pages behind BARs, frames of tables. */
  readonly barPages: number[] = [];
  tableFrames: number[] = [];
  /** A guest of the attacker's, and the PASID of its table; -1: that of requests without one. */
  guest: HostileGuest | undefined;
  guestPasid = -1;
  #tables = new Uint8Array(0);
  readonly #barAt = new Map<number, number>();
  readonly #tableSet = new Set<number>();
  readonly #slots: Slot[] = [];
  readonly #withAts = new Set<HostileNode>();
  readonly #random: Random;

  constructor(host: HostileHost, random: Random) {
    this.host = host;
    this.#random = random;
    const built = buildPlatform(readPlatform(platformOf(host)));
    this.machine = new Machine(built, {
      routeOptions: (fabric, facts) => ({
        ...hardwareRouting(fabric, facts),
        functionPeers: host.functionPeers,
        rootComplexPeers: host.rootPeers ? "same-root-bus" : "none",
      }),
    });
    this.machine.onInterrupt = (interrupt) => this.interrupts.push(interrupt);
    this.driver = new HostDriver(machineHost(this.machine));
    this.attacker = this.bdf(host.attacker);
    // Large pages need aligned frames, so theirs follow at the next multiple.
    this.memoryPages = host.largePages ? 2 * LARGE_PAGES : MEMORY_PAGES;
    this.recorder = new HostileRecorder(host, MEMORY_FIRST, this.memoryPages);
    this.memory = new BufferBacking("user memory", this.memoryPages * PAGE);
    this.machine.memory.addUserMemory(this.memory, { first: MEMORY_FIRST });
    this.engine = this.#engineBar();
    fill(this.memory.bytes, random);
    this.memoryShadow = this.memory.bytes.slice();
    this.bars = this.#probes();
    this.barShadow = this.bars.slice();
    this.iovas.push(...chooseIovas(host, this.barPages, random));
    this.iovas.push(MEMORY_FIRST + random.below(MEMORY_PAGES));
    this.#attachAll();
    addInterrupts(host, this.driver, this.rows, random);
    for (const node of host.functions) this.#setAts(node, node.ats);
    this.snapshot();
    this.oracle = new HostileOracle(
      host,
      this.rows,
      (pfn) => pfn >= MEMORY_FIRST && pfn < MEMORY_FIRST + this.memoryPages,
      (pfn) => this.#tableSet.has(pfn),
    );
  }

  bdf(node: HostileNode): Bdf {
    const bdf = bdfOfNode(node);
    if (!this.machine.isPresent(bdf)) throw new Error(`${node.name} is not there`);
    return bdf;
  }

  barAt(page: number): number {
    return this.#barAt.get(page) ?? -1;
  }

  /** The bytes of a frame of tables; a view, valid until tables are allocated. */
  tableBytes(pfn: number): Uint8Array {
    const { memory } = this.machine;
    const word = memory.frameWord(pfn);
    return new Uint8Array(memory.words.buffer, memory.words.byteOffset + word * 4, PAGE);
  }

  /** The same when they were last right. */
  tableShadow(pfn: number): Uint8Array {
    const at = this.machine.memory.frameWord(pfn) * 4;
    return this.#tables.subarray(at, at + PAGE);
  }

  /** Software has changed tables: they are right as they are now. */
  snapshot(): void {
    const { words } = this.machine.memory;
    this.#tables = new Uint8Array(words.buffer, words.byteOffset, words.byteLength).slice();
    this.tableFrames = [...this.machine.memory.tables()]
      .map(({ pfn }) => pfn)
      .sort((a, b) => a - b);
    this.#tableSet.clear();
    for (const pfn of this.tableFrames) this.#tableSet.add(pfn);
  }

  /** Some table is of stage 1. */
  get hasStage1(): boolean {
    return this.rows.stage1.size > 0;
  }

  /** Hardware has marked a guest's entries: so they must be. */
  syncMarks(): void {
    const { guest, memory, memoryShadow } = this;
    if (guest === undefined) return;
    const { buffer, byteOffset } = memory.bytes;
    hideMarks(new Uint32Array(buffer, byteOffset, MEMORY_PAGES * (PAGE / 4)), memoryShadow);
  }

  /** Every byte is what the oracle says: undefined, or the first that is not. */
  difference(): string | undefined {
    const { words } = this.machine.memory;
    const tables = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    if (this.hasStage1) hideMarks(words, this.#tables);
    this.syncMarks();
    return (
      differ("memory", this.memory.bytes, this.memoryShadow) ??
      differ("BARs", this.bars, this.barShadow) ??
      differ("tables", tables, this.#tables)
    );
  }

  /** A page that is mapped for some requester; undefined when the one tried has none. */
  target(random: Random): { rid: number; pasid: number; iova: number } | undefined {
    const slot = random.pick(this.#slots);
    const iovas = slot.guest === undefined ? [...slot.map.keys()] : [slot.guest.page(random)];
    if (iovas.length === 0 || slot.keys.length === 0) return undefined;
    const key = random.pick(slot.keys);
    const rid = Math.floor(key / 0x20_0000);
    return { rid, pasid: slot.pasid, iova: random.pick(iovas) };
  }

  /** Software changes one thing: a map, an attachment, or whether a device may use ATS. */
  mutate(): void {
    const random = this.#random;
    const slot = random.pick(this.#slots);
    const { guest } = slot;
    const what = random.below(5);
    if (guest !== undefined && what < 4) {
      if (what < 2) guest.fill(random);
      else guest.change(random);
    } else this.#mutateSlot(slot, what);
    this.driver.poll();
    this.snapshot();
  }

  #mutateSlot(slot: Slot, what: number): void {
    const random = this.#random;
    switch (what) {
      case 0:
      case 1:
        this.#unmapOne(slot);
        break;
      case 2:
      case 3:
        this.#mapOne(slot);
        break;
      default:
        if (random.below(2) === 0) this.#toggleAttachment(slot);
        else {
          const node = random.pick(this.host.functions);
          if (node.ats) this.recorder.leaveOut("ATS that is switched on and off");
          if (node.ats) this.#setAts(node, !this.#withAts.has(node));
        }
    }
  }

  #engineBar(): BarAccess {
    const engine = this.machine.engine(this.attacker);
    if (engine === undefined) throw new Error("the attacker has no engine");
    const read = engine.readBar.bind(engine);
    const write = engine.writeBar.bind(engine);
    return {
      read: (offset, length) => read(0, offset, length),
      write: (offset, data) => write(0, offset, data),
    };
  }

  #probes(): Uint8Array {
    let bytes = 0;
    for (const { bar } of this.host.functions) {
      for (let page = bar?.first ?? 1; page <= (bar?.last ?? 0); page++) {
        this.#barAt.set(page, bytes);
        this.barPages.push(page);
        bytes += PAGE;
      }
    }
    const all = new Uint8Array(bytes);
    fill(all, this.#random);
    for (const node of this.host.functions) {
      const endpoint = this.machine.endpoint(this.bdf(node));
      const at = this.barAt(node.bar?.first ?? 0);
      if (endpoint === undefined || at < 0) throw new Error(`${node.name} has no BAR`);
      endpoint.readBar = (_bar, offset, length) => all.slice(at + offset, at + offset + length);
      endpoint.writeBar = (_bar, offset, data) => all.set(data, at + offset);
    }
    return all;
  }

  #attachAll(): void {
    const { host } = this;
    const single = host.unit === "single-table";
    const owned = host.functions.filter(isOwned);
    const rest = host.functions.filter((node) => node.kind !== "conventional" && !isOwned(node));
    const bridges = behindBridges(host);
    if (single) this.#addSlot(host.functions, -1, [rowKey(0, -1)]);
    else {
      for (const [bus, conventional] of bridges) {
        // Everything behind a bridge sends as device 0, function 0 of its bus (PCI Express to
        // PCI/PCI-X Bridge 1.0 § 2.3).
        const rids = [...conventional.map(ridOfNode), bus * 256];
        this.#addSlot(
          conventional,
          -1,
          rids.map((rid) => rowKey(rid, -1)),
        );
      }
      if (host.vmd !== undefined) {
        const rid = ridOfNode(host.vmd);
        this.#addSlot(owned, -1, [rowKey(rid, -1)]);
        // One entry for all of them: prefixes pass as soon as one may use them.
        if (owned.some((node) => mayUsePasids(this.host, node))) this.rows.prefixes.add(rid);
      }
      for (const node of rest) {
        if (!isCovered(host, node)) continue;
        const rid = ridOfNode(node);
        const hasPasids = mayUsePasids(this.host, node);
        const hasGuest = mayNest(this.host, node) && this.#random.below(2) === 0;
        if (hasGuest) this.#addGuest(node, hasPasids);
        else this.#addSlot([node], -1, [rowKey(rid, -1)]);
        if (!hasPasids) continue;
        if (this.#isSeen(node)) this.rows.prefixes.add(rid);
        for (const pasid of PASIDS) {
          if (hasGuest && pasid === GUEST_PASID) continue;
          if (this.#random.below(3) > 0) this.#addSlot([node], pasid, [rowKey(rid, pasid)]);
        }
      }
    }
  }

  /** A guest's table for the PASID, and its memory without; or its table alone. */
  #addGuest(node: HostileNode, hasPasids: boolean): void {
    const rid = ridOfNode(node);
    const device = this.bdf(node);
    const flags = { ...FLAGS, nestParent: true, pasid: hasPasids };
    const domain = this.driver.allocPaging(device, flags, undefined);
    const ofMemory = hasPasids ? [node] : [];
    const keys = ofMemory.map(() => rowKey(rid, -1));
    const parent = this.#makeSlot(ofMemory, -1, keys, { domain });
    const memory = { is: this.memory.bytes, should: this.memoryShadow, first: MEMORY_FIRST };
    const first = MEMORY_FIRST + DATA_PAGES;
    const tables = Array.from({ length: MEMORY_PAGES - DATA_PAGES }, (_, i) => first + i);
    this.recorder.leaveOut("a guest's own tables");
    this.guest = new HostileGuest(this.driver, device, parent, memory, tables);
    this.guestPasid = hasPasids ? GUEST_PASID : -1;
    const key = rowKey(rid, this.guestPasid);
    this.rows.stage1.add(key);
    this.#makeSlot([node], this.guestPasid, [key], { domain, guest: this.guest });
    this.guest.fill(this.#random);
  }

  /** The attacker's requests arrive at the unit that has its rows; another unit's are not asked. */
  #isSeen(node: HostileNode): boolean {
    return !isBehindSecond(this.host, node);
  }

  #addSlot(members: readonly HostileNode[], pasid: number, keys: readonly number[]): void {
    const [first] = members;
    if (first === undefined) return;
    const flags = { ...FLAGS, pasid: pasid >= 0 };
    const wanted = this.host.unit === "single-table" ? FLAGS : flags;
    const stage2 = () => this.driver.allocPaging(this.bdf(first), wanted, undefined);
    // Stage 1 for some PASIDs: hardware marks its entries as accessed.
    const stage1 = pasid >= 0 && this.#random.below(2) === 0;
    if (stage1 && this.#isSeen(first)) for (const key of keys) this.rows.stage1.add(key);
    const domain = stage1 ? this.driver.vtd.allocStage1(this.bdf(first)) : stage2();
    if (stage1) this.recorder.leaveOut("tables of stage 1, which are of stage 2 here");
    this.#makeSlot(members, pasid, keys, { domain, stage1 });
  }

  #makeSlot(
    members: readonly HostileNode[],
    pasid: number,
    keys: readonly number[],
    space: Pick<Slot, "domain"> & Partial<Pick<Slot, "stage1" | "guest">>,
  ): Slot {
    const { domain, guest, stage1 = false } = space;
    const slot: Slot = {
      index: this.#slots.length,
      members,
      pasid,
      domain,
      map: new Map(),
      keys,
      attached: false,
      stage1,
      guest,
      large: false,
    };
    this.#slots.push(slot);
    this.recorder.space(slot.index);
    this.#attach(slot);
    if (guest !== undefined) return slot;
    const count = 4 + this.#random.below(5);
    for (let i = 0; i < count; i++) this.#mapOne(slot);
    if (this.host.largePages) this.#mapLarge(slot);
    return slot;
  }

  /** 2 MiB in one entry, given to one slot: for the oracle 512 pages. */
  #mapLarge(slot: Slot): void {
    if (this.#slots.some(({ large }) => large)) return;
    if (this.#random.below(3) > 0) return;
    const first = MEMORY_FIRST + LARGE_PAGES;
    slot.domain.map(LARGE_IOVA, first, LARGE_PAGES, READ | WRITE);
    this.recorder.map(slot.index, LARGE_IOVA, first, LARGE_PAGES, "rw");
    slot.large = true;
    for (let i = 0; i < LARGE_PAGES; i++) {
      slot.map.set(LARGE_IOVA + i, { pa: first + i, perm: READ | WRITE });
    }
    for (let i = 0; i < 8; i++) this.iovas.push(LARGE_IOVA + this.#random.below(LARGE_PAGES));
  }

  #attach(slot: Slot): void {
    const pasid = slot.pasid < 0 ? undefined : makePasid(slot.pasid);
    for (const node of slot.members) {
      this.driver.attach(this.bdf(node), pasid, slot.guest?.nested ?? slot.domain);
    }
    this.recorder.attach(slot.index, slot.members, slot.pasid, true);
    const { maps, elsewhere } = this.rows;
    const rows = slot.members.every((node) => this.#isSeen(node)) ? maps : elsewhere;
    for (const key of slot.keys) {
      if (slot.guest === undefined) rows.set(key, slot.map);
      else this.rows.guests.set(key, slot.guest);
    }
    slot.attached = true;
  }

  #toggleAttachment(slot: Slot): void {
    if (!slot.attached) {
      this.#attach(slot);
      return;
    }
    for (const node of slot.members) {
      const device = this.bdf(node);
      if (slot.pasid >= 0) this.driver.detachPasid(device, makePasid(slot.pasid));
      else this.driver.attach(device, undefined, this.driver.blocked(device));
    }
    this.recorder.attach(slot.index, slot.members, slot.pasid, false);
    const { maps, elsewhere } = this.rows;
    const rows = slot.members.every((node) => this.#isSeen(node)) ? maps : elsewhere;
    for (const key of slot.keys) {
      rows.delete(key);
      this.rows.guests.delete(key);
    }
    slot.attached = false;
  }

  #mapOne(slot: Slot): void {
    const random = this.#random;
    const iova = random.pick(this.iovas);
    if (slot.map.has(iova)) return;
    const toBar = random.below(8) === 0;
    const pa = toBar ? random.pick(this.barPages) : MEMORY_FIRST + this.#freePage();
    const perm = random.pick([READ, WRITE, READ | WRITE, READ | WRITE]);
    slot.domain.map(iova, pa, 1, perm);
    slot.domain.sync();
    const access = `${perm & READ ? "r" : ""}${perm & WRITE ? "w" : ""}`;
    this.recorder.map(slot.index, iova, pa, 1, access);
    slot.map.set(iova, { pa, perm: slot.stage1 ? perm | READ : perm });
  }

  /** A page that no other slot maps, while there is one. */
  #freePage(): number {
    const used = new Set(this.#slots.flatMap(({ map }) => [...map.values()].map(({ pa }) => pa)));
    const start = this.#random.below(DATA_PAGES);
    for (let i = 0; i < DATA_PAGES; i++) {
      const page = (start + i) % DATA_PAGES;
      if (!used.has(MEMORY_FIRST + page)) return page;
    }
    return start;
  }

  #unmapOne(slot: Slot): void {
    const iovas = [...slot.map.keys()];
    if (iovas.length === 0) return;
    const iova = this.#random.pick(iovas);
    const found = slot.map.get(iova);
    if (found !== undefined && this.guest?.holds(found.pa) === true) return;
    const isLarge = slot.large && iova >= LARGE_IOVA && iova < LARGE_IOVA + LARGE_PAGES;
    const first = isLarge ? LARGE_IOVA : iova;
    const count = isLarge ? LARGE_PAGES : 1;
    this.recorder.unmap(slot.index, first, count);
    slot.domain.unmap(first, count);
    slot.domain.sync();
    for (let i = 0; i < count; i++) slot.map.delete(first + i);
    if (isLarge) slot.large = false;
  }

  #setAts(node: HostileNode, on: boolean): void {
    if (!isCovered(this.host, node)) return;
    const { ats } = this.driver.configure(this.bdf(node), { ats: on, pageRequests: false });
    if (ats !== (on && modeOf(this.host, node) !== "single-table")) {
      throw new Error(`${node.name}: ATS is ${ats} where ${on} was asked for`);
    }
    if (!this.#isSeen(node)) return;
    if (ats) this.#withAts.add(node);
    else this.#withAts.delete(node);
    this.rows.ats.clear();
    for (const each of this.#withAts) this.rows.ats.add(senderOf(this.host, each));
  }
}
