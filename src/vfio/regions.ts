/**
 * BARs and ROM of a device as a user reads, writes and maps them. Linux vfio_pci_rdwr.c,
 * vfio_pci_core_mmap().
 *
 * Accesses are cut into naturally aligned pieces of at most 8 bytes (ROM: 4). The MSI-X table is
 * the kernel's: it reads all ones, and writes to it are dropped. A BAR that is memory and nothing
 * else can be mapped; it then lives in memory that the program and the device share. Registers are
 * not mappable, since nobody would see a program write them.
 */
import { UapiError } from "../abi/index.js";
import type { MappedRegion, MmapRequest } from "../files/index.js";
import { CapabilityId, findStandard, type PciFunction } from "../pcie/index.js";
import { type Bdf, formatBdf } from "../units/index.js";
import type { BarMemories } from "./bar-memories.js";
import { BarPages } from "./bar-pages.js";
import type { VfioPlatform } from "./platform-ports.js";
import { Region, type Resource, resourcesOf } from "./resources.js";

/** Where the MSI-X table lies. */
export interface TablePlace {
  readonly bar: number;
  readonly offset: number;
  readonly bytes: number;
}

/** Whether BARs answer now. */
export interface MemoryGate {
  readonly memoryEnabled: boolean;
}

const BIG_PAGE = 4096n;
const MAP_SHARED = 1;
const CITE_RW = { cite: "Linux vfio_pci_bar_rw()" };
const CITE_MMAP = { cite: "Linux vfio_pci_core_mmap()" };

/** See the head of the file. */
export class DeviceRegions {
  readonly bdf: Bdf;
  readonly resources: readonly (Resource | undefined)[];
  readonly table: TablePlace | undefined;
  readonly #platform: Pick<VfioPlatform, "machine">;
  readonly #gate: MemoryGate;
  readonly #memories: BarMemories;
  readonly #pages = new Map<number, BarPages>();

  constructor(
    platform: Pick<VfioPlatform, "machine">,
    memories: BarMemories,
    fn: PciFunction,
    gate: MemoryGate,
  ) {
    this.bdf = fn.bdf;
    this.#platform = platform;
    this.#memories = memories;
    this.#gate = gate;
    this.resources = resourcesOf(fn);
    this.table = tableOf(fn);
  }

  /** Bytes of a BAR, 0 when it is not there. */
  sizeOf(bar: number): bigint {
    return this.resources[bar]?.size ?? 0n;
  }

  isMappable(bar: number): boolean {
    const resource = this.resources[bar];
    if (resource?.isMemory !== true || bar >= Region.rom) return false;
    if (resource.size < BIG_PAGE && resource.base % BIG_PAGE !== 0n) return false;
    return this.#platform.machine.endpoint(this.bdf)?.plainBar?.(bar) !== undefined;
  }

  /** The ROM begins with its signature. */
  get hasRom(): boolean {
    if (this.resources[Region.rom] === undefined) return false;
    const bytes = this.#platform.machine.endpoint(this.bdf)?.readBar(Region.rom, 0, 2);
    return bytes?.[0] === 0x55 && bytes[1] === 0xaa;
  }

  /**
   * @returns fewer bytes than asked for at the end of the BAR.
   * @throws UapiError EINVAL no such BAR, or beyond its end; ENOMEM the ROM is not there; EIO
   *   memory decoding is off.
   */
  read(bar: number, offset: bigint, length: number): Uint8Array {
    const { at, count } = this.#begin(bar, offset, length);
    const out = new Uint8Array(count);
    const endpoint = this.#platform.machine.endpoint(this.bdf);
    this.#pieces(bar, at, count, (piece, width, isTable) => {
      const bytes = isTable ? undefined : endpoint?.readBar(bar, piece, width);
      if (bytes === undefined) out.fill(0xff, piece - at, piece - at + width);
      else out.set(bytes, piece - at);
    });
    return out;
  }

  /** @returns bytes taken. @throws UapiError as {@link read}; EINVAL for the ROM. */
  write(bar: number, offset: bigint, bytes: Uint8Array): number {
    if (bar === Region.rom) throw new UapiError("EINVAL", "a ROM cannot be written", CITE_RW);
    const { at, count } = this.#begin(bar, offset, bytes.length);
    const endpoint = this.#platform.machine.endpoint(this.bdf);
    this.#pieces(bar, at, count, (piece, width, isTable) => {
      if (isTable) return;
      endpoint?.writeBar(bar, piece, bytes.slice(piece - at, piece - at + width));
    });
    return count;
  }

  /** @throws UapiError EINVAL not shared, not mappable, beyond the end; ENOMEM. */
  mmap(bar: number, offset: bigint, request: MmapRequest): MappedRegion {
    if ((request.flags & MAP_SHARED) === 0) {
      throw new UapiError("EINVAL", "regions can be mapped shared only", CITE_MMAP);
    }
    if (bar >= Region.rom || !this.isMappable(bar)) {
      throw new UapiError("EINVAL", "the region cannot be mapped", CITE_MMAP);
    }
    const end = roundUp(this.sizeOf(bar));
    const length = roundUp(request.length);
    if (offset + length > end) {
      throw new UapiError("EINVAL", "the mapping goes beyond the end of the region", CITE_MMAP);
    }
    const memory = this.#memories.memoryOf(this.bdf, bar, Number(end));
    return {
      memory,
      offset: Number(offset),
      device: offset === 0n ? this.pagesOf(bar) : this.#pagesFrom(bar, offset),
    };
  }

  /** All pages of a memory BAR, for DMA. @throws RangeError for another BAR. */
  pagesOf(bar: number): BarPages {
    const found = this.#pages.get(bar) ?? this.#pagesFrom(bar, 0n);
    this.#pages.set(bar, found);
    return found;
  }

  /** Parts of a memory BAR, of whole pages, that can be revoked by themselves. */
  makePages(
    bar: number,
    ranges: readonly { readonly offset: bigint; readonly length: bigint }[],
  ): BarPages {
    const resource = this.resources[bar];
    if (resource === undefined) throw new RangeError(`there is no BAR ${bar}`);
    const runs = ranges.map(({ offset, length }) => ({
      firstPage: Number(offset / BIG_PAGE),
      count: Number(length / BIG_PAGE),
    }));
    return new BarPages(`BAR ${bar} of ${formatBdf(this.bdf)}`, resource, runs);
  }

  #pagesFrom(bar: number, offset: bigint): BarPages {
    return this.makePages(bar, [{ offset, length: roundUp(this.sizeOf(bar)) - offset }]);
  }

  #begin(bar: number, offset: bigint, length: number): { at: number; count: number } {
    const resource = this.resources[bar];
    if (resource === undefined) throw new UapiError("EINVAL", "there is no such BAR", CITE_RW);
    if (offset >= resource.size) {
      throw new UapiError("EINVAL", "the access begins beyond the end of the BAR", CITE_RW);
    }
    if (bar === Region.rom && !this.hasRom) {
      throw new UapiError("ENOMEM", "the ROM is not there", { cite: "Linux pci_map_rom()" });
    }
    if (resource.isMemory && !this.#gate.memoryEnabled) {
      throw new UapiError("EIO", "the device does not decode memory", {
        evidence: [{ kind: "memory-decoding-off", at: this.bdf }],
        cite: "Linux vfio_pci_core_do_io_rw()",
      });
    }
    const left = resource.size - offset;
    return { at: Number(offset), count: left < BigInt(length) ? Number(left) : length };
  }

  /** Calls `use` for each piece; `isTable` for runs of any length inside the MSI-X table. */
  #pieces(
    bar: number,
    first: number,
    count: number,
    use: (at: number, width: number, isTable: boolean) => void,
  ): void {
    const table = this.table?.bar === bar ? this.table : undefined;
    const tableEnd = table === undefined ? 0 : table.offset + table.bytes;
    const widest = bar === Region.rom ? 4 : 8;
    const end = first + count;
    for (let at = first; at < end; ) {
      if (table !== undefined && at >= table.offset && at < tableEnd) {
        const width = Math.min(end, tableEnd) - at;
        use(at, width, true);
        at += width;
        continue;
      }
      const stop = table !== undefined && at < table.offset ? Math.min(end, table.offset) : end;
      let width = widest;
      while (width > 1 && (at % width !== 0 || at + width > stop)) width /= 2;
      use(at, width, false);
      at += width;
    }
  }
}

/** PCIe 6 § 7.7.2: entries of 16 bytes. */
function tableOf(fn: PciFunction): TablePlace | undefined {
  const at = findStandard(fn.capabilities, CapabilityId.MsiX) ?? undefined;
  if (at === undefined) return undefined;
  const place = fn.config.u32(at + 4);
  const entries = (fn.config.u16(at + 2) & 0x7ff) + 1;
  return { bar: place & 7, offset: (place & ~7) >>> 0, bytes: entries * 16 };
}

function roundUp(bytes: bigint): bigint {
  return ((bytes + BIG_PAGE - 1n) / BIG_PAGE) * BIG_PAGE;
}
