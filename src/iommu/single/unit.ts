/**
 * An IOMMU that does not match requesters: one table for every request, whoever sends it.
 *
 * Old chipsets translated so. Devices behind it cannot be told apart, so all of them must share one
 * address space, and a PASID means nothing: a request that carries one is refused, as are
 * translation requests, translated requests and page requests. The table has the format of VT-d
 * stage 2 (§ 9.8), three or four levels. Interrupts are not remapped.
 */
import type { PhysicalMemory } from "../../memory/index.js";
import type { Iommu, IommuCaches } from "../iommu.js";
import type { WalkObserver } from "../iommu-ports.js";
import { IOTLB_LIMIT, Iotlb } from "../iotlb.js";
import { cachedTranslations } from "../iotlb-view.js";
import { isInterruptWrite, messageInterrupt } from "../message-interrupt.js";
import { allowedNeeds, Denial, denialOf, Need, NO_STAGE1, NO_STAGE2, Rights } from "../rights.js";
import { highBitsFrom } from "../table-entry.js";
import {
  CompletionStatus,
  DmaAddressType,
  type DmaAnswer,
  type DmaRequest,
  DmaSource,
  DmaStatus,
  type InterruptAnswer,
  type InterruptRequest,
  type PageRequestAnswer,
  type PageRequestMessage,
  PageRight,
} from "../translation.js";
import { WalkFault } from "../walk-result.js";
import { Stage2Walk } from "../walk-stage2.js";

/** Registers, by byte offset; all 64 bits wide. */
export const SingleTableRegister = {
  /** Read only: bits 5:0 width of an input address, bit 8: 2 MiB pages, bit 9: 1 GiB pages. */
  capability: 0x00,
  /** Bit 0: translation is on. */
  control: 0x08,
  /** Bits 63:12: frame of the root table; bits 2:0: levels, 3 or 4. */
  table: 0x10,
  /** Any write forgets all cached translations. */
  flush: 0x18,
  /**
   * Bits 7:0: {@link SingleTableFault} of the last fault, bits 31:16 its requester; a write
   * clears.
   */
  faultStatus: 0x20,
  /** Address of the last fault. */
  faultAddress: 0x28,
} as const;

export const SingleTableFault = {
  prefix: 1,
  addressType: 2,
  addressBeyondWidth: 3,
  tableAccess: 4,
  notPresent: 5,
  reserved: 6,
  readDenied: 7,
  writeDenied: 8,
  interruptAddress: 9,
} as const;

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(SingleTableFault).map(([name, code]) => [code, name]),
);
const INTERRUPT_PREFIX = 0xfee;

export interface SingleTableOptions {
  readonly name?: string;
  /** Bits of a physical address, 39 to 52; default 52. */
  readonly hostAddressWidth?: number;
  readonly pages2M?: boolean;
  readonly pages1G?: boolean;
  /** A power of two, 8 to 4096; default 4096. */
  readonly iotlbEntries?: number;
}

/** An IOMMU with one table for all. */
export class SingleTableUnit implements Iommu {
  readonly kind = "single-table";
  readonly name: string;
  readonly #walk: Stage2Walk;
  readonly #iotlb: Iotlb;
  readonly #words = new Uint32Array(12);

  /** @throws RangeError when an option is out of its range. */
  constructor(memory: PhysicalMemory, options: SingleTableOptions = {}) {
    const addressWidth = options.hostAddressWidth ?? 52;
    if (!(addressWidth >= 39 && addressWidth <= 52)) {
      throw new RangeError(`hostAddressWidth ${addressWidth} is not 39..52`);
    }
    const { pages2M = true, pages1G = true } = options;
    this.name = options.name ?? "single-table";
    this.#iotlb = new Iotlb(options.iotlbEntries ?? IOTLB_LIMIT);
    this.#walk = new Stage2Walk(memory, {
      addressWidth,
      pages2M,
      pages1G,
      snoopControl: true,
      deviceTlb: false,
    });
    this.#words[0] = 48 | (pages2M ? 1 << 8 : 0) | (pages1G ? 1 << 9 : 0);
  }

  get observer(): WalkObserver | undefined {
    return this.#walk.observer;
  }

  set observer(observer: WalkObserver | undefined) {
    this.#walk.observer = observer;
  }

  get memoryReads(): number {
    return this.#walk.reads;
  }

  translate(request: DmaRequest, answer: DmaAnswer): void {
    answer.reason = 0;
    answer.completionStatus = CompletionStatus.success;
    answer.recorded = false;
    answer.domainId = undefined;
    answer.source = DmaSource.bypass;
    const reason = this.#serve(request, answer);
    if (reason === 0) return;
    answer.status = DmaStatus.fault;
    answer.reason = reason;
    answer.completionStatus =
      reason === SingleTableFault.tableAccess
        ? CompletionStatus.completerAbort
        : CompletionStatus.unsupportedRequest;
    answer.recorded = true;
    this.#words[SingleTableRegister.faultStatus / 4] = reason | (request.requester << 16);
    this.#words[SingleTableRegister.faultAddress / 4] = request.lo;
    this.#words[SingleTableRegister.faultAddress / 4 + 1] = request.hi;
  }

  interrupt(request: InterruptRequest): InterruptAnswer {
    return messageInterrupt(request);
  }

  /** Devices here have no page requests: each group's last is answered with a failure. */
  pageRequest(message: PageRequestMessage): PageRequestAnswer {
    const code = message.last ? 1 : undefined;
    return { kind: "answered", code, reason: SingleTableFault.addressType };
  }

  readRegister32(offset: number): number {
    return this.#words[offset >>> 2] ?? 0;
  }

  writeRegister32(offset: number, value: number): void {
    const register = offset & ~7;
    if (register === SingleTableRegister.flush) this.#iotlb.clear();
    else if (register === SingleTableRegister.faultStatus) this.#words[offset >>> 2] = 0;
    else if (register === SingleTableRegister.control || register === SingleTableRegister.table) {
      this.#words[offset >>> 2] = value;
    }
  }

  readRegister64(offset: number): bigint {
    const low = BigInt(this.readRegister32(offset));
    return (BigInt(this.readRegister32(offset + 4)) << 32n) | low;
  }

  writeRegister64(offset: number, value: bigint): void {
    this.writeRegister32(offset, Number(value & 0xffff_ffffn));
    this.writeRegister32(offset + 4, Number((value >> 32n) & 0xffff_ffffn));
  }

  inspect(): IommuCaches {
    return { iotlb: cachedTranslations(this.#iotlb), contexts: [], pasids: [], interrupts: [] };
  }

  faultName(reason: number): string {
    return NAMES.get(reason) ?? `unknown-${reason}`;
  }

  #serve(request: DmaRequest, answer: DmaAnswer): number {
    const isEnabled = ((this.#words[SingleTableRegister.control / 4] as number) & 1) !== 0;
    if (request.hasPasid) return SingleTableFault.prefix;
    if (request.addressType !== DmaAddressType.untranslated) return SingleTableFault.addressType;
    if (request.hi === 0 && request.lo >>> 20 === INTERRUPT_PREFIX) {
      if (!isInterruptWrite(request)) return SingleTableFault.interruptAddress;
      answer.status = DmaStatus.interrupt;
      return 0;
    }
    if (!isEnabled) {
      return finish(request, answer, request.lo, request.hi, 63, NO_STAGE1 | NO_STAGE2);
    }
    return this.#translate(request, answer);
  }

  #translate(request: DmaRequest, answer: DmaAnswer): number {
    const tableLo = this.#words[SingleTableRegister.table / 4] as number;
    const levels = (tableLo & 7) === 3 ? 3 : 4;
    if ((request.hi & highBitsFrom(12 + 9 * levels)) !== 0) {
      return SingleTableFault.addressBeyondWidth;
    }
    const { lo, hi } = request;
    const cache = this.#iotlb;
    answer.domainId = 0;
    if (cache.find(0, 0, false, lo, hi)) {
      const denial = denialOf(cache.rights, request.access, 0);
      answer.source = DmaSource.cache;
      if (denial !== Denial.none) return deniedReason(denial);
      return finish(request, answer, cache.lo, cache.hi, cache.pageShift, cache.rights);
    }
    const walk = this.#walk;
    const tableHi = this.#words[SingleTableRegister.table / 4 + 1] as number;
    answer.source = DmaSource.walk;
    const fault = walk.walk(tableLo | 0, tableHi | 0, levels, lo, hi, request.access, false);
    if (fault !== WalkFault.none) return walkReason(fault, request.access);
    const { lo: toLo, hi: toHi, pageShift, rights } = walk;
    cache.insert(0, 0, false, lo, hi, toLo, toHi, pageShift, rights);
    return finish(request, answer, toLo, toHi, pageShift, rights);
  }
}

function finish(
  request: DmaRequest,
  answer: DmaAnswer,
  lo: number,
  hi: number,
  pageShift: number,
  rights: number,
): number {
  if (hi === 0 && lo >>> 20 === INTERRUPT_PREFIX) return SingleTableFault.interruptAddress;
  answer.status = DmaStatus.translated;
  answer.lo = lo;
  answer.hi = hi;
  answer.pageShift = pageShift;
  const isSnooped = (rights & Rights.snoop) !== 0 || !request.noSnoop;
  answer.rights =
    (allowedNeeds(rights, 0, 0) & (PageRight.read | PageRight.write)) |
    (isSnooped ? PageRight.snooped : 0);
  return 0;
}

function deniedReason(denial: number): number {
  return denial === Denial.write ? SingleTableFault.writeDenied : SingleTableFault.readDenied;
}

function walkReason(fault: number, access: number): number {
  switch (fault) {
    case WalkFault.access:
      return SingleTableFault.tableAccess;
    case WalkFault.notPresent:
      return SingleTableFault.notPresent;
    case WalkFault.reserved:
      return SingleTableFault.reserved;
    default:
      return (access & Need.write) !== 0
        ? SingleTableFault.writeDenied
        : SingleTableFault.readDenied;
  }
}
