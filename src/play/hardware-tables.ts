/**
 * The tables of IOMMU units as they stand in memory, read as bytes from the root that the unit's
 * register names (VT-d 5.0 § 9.1-9.8). Nothing here asks a driver or a unit's caches.
 */
import type { Iommu } from "../iommu/index.js";
import { MemoryStatus, type PhysicalMemory } from "../memory/index.js";

/** An entry that gives requests of a requester, with or without a PASID, their tables. */
export interface HardwareEntry {
  readonly requester: number;
  /** Undefined: requests without one. */
  readonly pasid: number | undefined;
  readonly translation: "stage1" | "stage2" | "nested" | "pass-through";
  /** Frame of the first table; of nested entries an address of the guest's. */
  readonly stage1: number | undefined;
  readonly stage1Levels: number;
  readonly stage2: number | undefined;
  readonly stage2Levels: number;
}

export interface HardwareTables {
  readonly entries: readonly HardwareEntry[];
  /** Frames of tables that are named by an entry and hold no tables, in words. */
  readonly strays: readonly string[];
}

const Register = { globalStatus: 0x1c, rootTable: 0x20 } as const;
const TRANSLATION_ON = 0x8000_0000;
const FRAME = 0x000f_ffff_ffff_f000n;
const TRANSLATIONS = ["stage1", "stage2", "nested", "pass-through"] as const;
const SINGLE = { control: 0x08, table: 0x10 } as const;

/** Empty while translation is off. */
export function readHardwareTables(iommu: Iommu, memory: PhysicalMemory): HardwareTables {
  return new TableReader(memory).read(iommu);
}

class TableReader {
  readonly #memory: PhysicalMemory;
  readonly #entries: HardwareEntry[] = [];
  readonly #strays: string[] = [];
  readonly #seen = new Set<number>();

  constructor(memory: PhysicalMemory) {
    this.#memory = memory;
  }

  read(iommu: Iommu): HardwareTables {
    const tables = { entries: this.#entries, strays: this.#strays };
    if (iommu.kind === "single-table") {
      this.#singleTable(iommu);
      return tables;
    }
    const isOn = (iommu.readRegister32(Register.globalStatus) & TRANSLATION_ON) !== 0;
    if (!isOn) return tables;
    const root = iommu.readRegister64(Register.rootTable);
    const isScalable = ((root >> 10n) & 3n) === 1n;
    const frame = this.#tableAt(root, "the root table");
    if (frame === undefined) return tables;
    for (let bus = 0; bus < 256; bus++) {
      const [low, high] = [this.#word(frame + bus * 16), this.#word(frame + bus * 16 + 8)];
      if (!isScalable) this.#legacyBus(bus, low);
      else {
        this.#scalableHalf(bus * 256, low);
        this.#scalableHalf(bus * 256 + 128, high);
      }
    }
    return tables;
  }

  #singleTable(iommu: Iommu): void {
    if ((iommu.readRegister64(SINGLE.control) & 1n) === 0n) return;
    const value = iommu.readRegister64(SINGLE.table);
    const levels = Number(value & 7n);
    const stage2 = this.#pageTable(value, levels, "the one table");
    const none = { stage1: undefined, stage1Levels: 0 };
    const common = { requester: 0, pasid: undefined, translation: "stage2" } as const;
    this.#entries.push({ ...common, ...none, stage2, stage2Levels: levels });
  }

  #legacyBus(bus: number, root: bigint): void {
    const table = (root & 1n) === 0n ? undefined : this.#tableAt(root, `bus ${bus}`);
    if (table === undefined) return;
    for (let fn = 0; fn < 256; fn++) {
      const [low, high] = [this.#word(table + fn * 16), this.#word(table + fn * 16 + 8)];
      if ((low & 1n) === 0n) continue;
      const requester = bus * 256 + fn;
      const passes = ((low >> 2n) & 3n) === 2n;
      const stage2Levels = Number(high & 7n) + 2;
      const where = `requester ${requester}`;
      const stage2 = passes ? undefined : this.#pageTable(low, stage2Levels, where);
      const translation = passes ? "pass-through" : "stage2";
      const stage1 = { stage1: undefined, stage1Levels: 0 };
      this.#entries.push({
        requester,
        pasid: undefined,
        translation,
        ...stage1,
        stage2,
        stage2Levels,
      });
    }
  }

  /** @param first requester ID of the half's first entry. */
  #scalableHalf(first: number, root: bigint): void {
    const table = (root & 1n) === 0n ? undefined : this.#tableAt(root, `requester ${first}`);
    if (table === undefined) return;
    for (let i = 0; i < 128; i++) {
      const [low, high] = [this.#word(table + i * 32), this.#word(table + i * 32 + 8)];
      if ((low & 1n) !== 0n) this.#directory(first + i, low, Number(high & 0xf_ffffn));
    }
  }

  #directory(requester: number, context: bigint, ridPasid: number): void {
    const frames = 2 ** Math.max(0, Number((context >> 9n) & 7n) + 7 - 9);
    for (let n = 0; n < frames; n++) {
      const directory = this.#tableAt(context + BigInt(n * 4096), `requester ${requester}`);
      if (directory === undefined) return;
      for (let i = 0; i < 512; i++) {
        const entry = this.#word(directory + i * 8);
        const where = `requester ${requester}`;
        const table = (entry & 1n) === 0n ? undefined : this.#tableAt(entry, where);
        if (table === undefined) continue;
        for (let j = 0; j < 64; j++) {
          this.#pasidEntry(requester, (n * 512 + i) * 64 + j, ridPasid, table + j * 64);
        }
      }
    }
  }

  #pasidEntry(requester: number, number: number, ridPasid: number, at: number): void {
    const low = this.#word(at);
    if ((low & 1n) === 0n) return;
    const third = this.#word(at + 16);
    const kind = Number((low >> 6n) & 7n);
    const translation = TRANSLATIONS[kind - 1];
    const pasid = number === ridPasid ? undefined : number;
    const where = `requester ${requester}, PASID ${pasid ?? "-"}`;
    if (translation === undefined) {
      this.#strays.push(`${where}: an entry of no known kind`);
      return;
    }
    const stage2Levels = Number((low >> 2n) & 7n) + 2;
    const stage1Levels = (third & 4n) === 0n ? 4 : 5;
    const hasStage2 = translation === "stage2" || translation === "nested";
    const stage2 = hasStage2 ? this.#pageTable(low, stage2Levels, where) : undefined;
    const own = this.#stage1Of(translation, third, stage1Levels, where);
    const entry = { requester, pasid, translation, stage1: own, stage1Levels };
    this.#entries.push({ ...entry, stage2, stage2Levels });
  }

  /** A guest's table is in memory of the guest's: its address is one of stage 2. */
  #stage1Of(
    translation: HardwareEntry["translation"],
    word: bigint,
    levels: number,
    where: string,
  ): number | undefined {
    if (translation === "nested") return Number((word & FRAME) >> 12n);
    return translation === "stage1" ? this.#pageTable(word, levels, where) : undefined;
  }

  /** Frame of a page table; it and all tables below it hold tables. */
  #pageTable(entry: bigint, levels: number, where: string): number | undefined {
    const at = this.#tableAt(entry, where);
    if (at === undefined) return undefined;
    if (!this.#seen.has(at)) this.#below(at, levels, where);
    return at / 4096;
  }

  #below(table: number, level: number, where: string): void {
    this.#seen.add(table);
    if (level <= 1) return;
    for (let i = 0; i < 512; i++) {
      const entry = this.#word(table + i * 8);
      const isPage = level <= 3 && (entry & 0x80n) !== 0n;
      if ((entry & 3n) === 0n || isPage) continue;
      const next = this.#tableAt(entry, `${where}, level ${level}`);
      if (next !== undefined && !this.#seen.has(next)) this.#below(next, level - 1, where);
    }
  }

  /** Address of the frame that an entry names; undefined, and noted, when it holds no table. */
  #tableAt(entry: bigint, where: string): number | undefined {
    const at = Number(entry & FRAME);
    if (this.#memory.useOf(at / 4096)?.kind === "table") return at;
    this.#strays.push(`${where} leads to frame 0x${(at / 4096).toString(16)}, which is no table`);
    return undefined;
  }

  /** Of a frame of tables. Most words are zero, so that is asked first. */
  #word(at: number): bigint {
    const { words } = this.#memory;
    const index = this.#memory.frameWord(Math.floor(at / 4096)) + ((at % 4096) >>> 2);
    const [lo, hi] = [words[index] ?? 0, words[index + 1] ?? 0];
    if (lo === 0 && hi === 0) return 0n;
    return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
  }
}

/** Eight bytes; undefined where no memory answers. */
export function readWord(memory: PhysicalMemory, at: number): bigint | undefined {
  const status = memory.read64(at | 0, Math.floor(at / 2 ** 32) | 0);
  if (status !== MemoryStatus.ok) return undefined;
  return (BigInt(memory.hi >>> 0) << 32n) | BigInt(memory.lo >>> 0);
}
