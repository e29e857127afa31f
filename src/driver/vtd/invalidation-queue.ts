/**
 * InvalidationQueue: commands to one unit, as descriptors in memory: VT-d 5.0 § 6.5.2.
 *
 * Commands are collected and handed over by `submit`, with a wait descriptor behind them whose
 * status word tells that all of them are done. The queue is one frame (two with wide descriptors),
 * and is submitted by itself when it is full.
 */
import { VtdDescriptorType, VtdRegister } from "../../formats/index.js";
import type { Iommu } from "../../iommu/index.js";
import { addressHigh, addressLow, type FrameOwner } from "../../memory/index.js";
import type { TableFrames } from "../table-frames.js";

const D = VtdDescriptorType;
/** Descriptors in the queue; one place stays free, so that full differs from empty. */
const CAPACITY = 256;
const GSTS_QUEUE = 1 << 26;
const FSTS_QUEUE_ERROR = 1 << 4;
const FSTS_COMPLETION_ERROR = 1 << 5;
const FSTS_TIMEOUT = 1 << 6;
/** Everything, as an order of pages. */
export const ALL_PAGES = 52;

/** Function of a device TLB, in the terms of its invalidation. */
export interface DeviceTlbTarget {
  readonly rid: number;
  /** Requester ID of the PF where the unit throttles by it, else 0. */
  readonly physical: number;
  /** Invalidations that may be outstanding at once: ATS capability, queue depth. */
  readonly depth: number;
}

export class InvalidationQueue {
  readonly #iommu: Iommu;
  readonly #frames: TableFrames;
  readonly #first: number;
  readonly #status: number;
  readonly #stride: number;
  #tail = 0;
  /** Commands that were written and are not handed over. */
  #pending = 0;
  #serial = 0;
  /** Times a device did not answer an invalidation of its TLB. */
  timeouts = 0;

  /**
   * Sets the queue up and switches it on.
   * @throws UapiError ENOMEM.
   */
  constructor(iommu: Iommu, frames: TableFrames, owner: FrameOwner, wide: boolean) {
    this.#iommu = iommu;
    this.#frames = frames;
    this.#stride = wide ? 32 : 16;
    this.#first = frames.allocateRun(wide ? 2 : 1, owner);
    try {
      this.#status = frames.allocate(owner);
    } catch (error) {
      for (let i = 0; i < (wide ? 2 : 1); i++) frames.free(this.#first + i);
      throw error;
    }
    const address = BigInt(this.#first) << 12n;
    iommu.writeRegister64(VtdRegister.queueTail, 0n);
    iommu.writeRegister64(VtdRegister.queueAddress, address | (wide ? 0x801n : 0n));
    const enabled = iommu.readRegister32(VtdRegister.globalStatus) & ~GCMD_ONE_SHOT;
    iommu.writeRegister32(VtdRegister.globalCommand, (enabled | GSTS_QUEUE) >>> 0);
  }

  /** Context entries: of one requester, with the domain id that they had. */
  contextDevice(rid: number, domainId: number): void {
    this.#push(D.contextCache | (3 << 4) | (domainId << 16), rid, 0, 0);
  }

  contextAll(): void {
    this.#push(D.contextCache | (1 << 4), 0, 0, 0);
  }

  /** PASID entries of one PASID in a domain. */
  pasidEntry(domainId: number, pasid: number): void {
    this.#push(D.pasidCache | (1 << 4) | (domainId << 16), pasid, 0, 0);
  }

  pasidAll(): void {
    this.#push(D.pasidCache | (3 << 4), 0, 0, 0);
  }

  /** Translations of a whole domain. */
  iotlbDomain(domainId: number): void {
    this.#push(D.iotlb | (2 << 4) | DRAIN | (domainId << 16), 0, 0, 0);
  }

  iotlbAll(): void {
    this.#push(D.iotlb | (1 << 4) | DRAIN, 0, 0, 0);
  }

  /** 2^order pages of a domain's stage 2. @param leafOnly tables above the pages did not change. */
  iotlbPages(domainId: number, frame: number, order: number, leafOnly: boolean): void {
    const low = order | (leafOnly ? 1 << 6 : 0) | frameLow(frame);
    this.#push(D.iotlb | (3 << 4) | DRAIN | (domainId << 16), 0, low, frameHigh(frame));
  }

  /** All stage-1 and nested translations of a PASID in a domain. */
  pasidTranslations(domainId: number, pasid: number): void {
    this.#push(D.pasidIotlb | (2 << 4) | (domainId << 16), pasid, 0, 0);
  }

  pasidPages(
    domainId: number,
    pasid: number,
    frame: number,
    order: number,
    leafOnly: boolean,
  ): void {
    const low = order | (leafOnly ? 1 << 6 : 0) | frameLow(frame);
    const first = D.pasidIotlb | (3 << 4) | (domainId << 16);
    this.#push(first, pasid, low, frameHigh(frame));
  }

  /** 2^order pages of a device's TLB, of requests without PASID; `frame` is aligned. */
  deviceTlb(target: DeviceTlbTarget, frame: number, order: number): void {
    const { rid, physical, depth } = target;
    const sized = order === 0 ? frame : frame + 2 ** (order - 1) - 1;
    this.#push(
      D.deviceTlb | ((physical & 0xf) << 12) | ((depth & 0x1f) << 16),
      rid | ((physical >>> 4) << 20),
      (order === 0 ? 0 : 1) | frameLow(sized),
      frameHigh(sized),
    );
  }

  pasidDeviceTlb(target: DeviceTlbTarget, pasid: number, frame: number, order: number): void {
    const { rid, physical, depth } = target;
    const sized = order === 0 ? frame : frame + 2 ** (order - 1) - 1;
    this.#push(
      D.pasidDeviceTlb | ((depth & 0x1f) << 4) | ((physical & 0xf) << 12) | (rid << 16),
      pasid | ((physical >>> 4) << 20),
      (order === 0 ? 0 : 1 << 11) | frameLow(sized),
      frameHigh(sized),
    );
  }

  interruptEntry(index: number): void {
    this.#push(D.interruptEntryCache | (1 << 4), index, 0, 0);
  }

  interruptAll(): void {
    this.#push(D.interruptEntryCache, 0, 0, 0);
  }

  /** @param code as in PCIe 6 § 10.4.2.2. */
  pageGroupResponse(rid: number, pasid: number | undefined, group: number, code: number): void {
    const first = D.pageGroupResponse | (pasid === undefined ? 0 : 1 << 4) | (code << 12);
    this.#push(first | (rid << 16), pasid ?? 0, (1 << 2) | (group << 3), 0);
  }

  /**
   * Hands over what was pushed and returns when all of it is done.
   * @throws Error when the unit refuses a descriptor: a defect of the driver.
   */
  submit(): void {
    if (this.#pending === 0) return;
    this.#serial = (this.#serial + 1) >>> 0;
    const { memory } = this.#frames;
    const address = addressLow(this.#status, 0);
    this.#write(D.wait | (1 << 5), this.#serial, address, addressHigh(this.#status));
    this.#pending = 0;
    this.#iommu.writeRegister64(VtdRegister.queueTail, BigInt(this.#tail * this.#stride));
    for (let i = 0; i < CAPACITY; i++) {
      if (memory.words[memory.frameWord(this.#status)] === this.#serial) return;
      if (!this.#resume()) break;
    }
    throw new Error(`${this.#iommu.name}: invalidations do not complete`);
  }

  /**
   * A device did not answer: the unit stops behind its descriptor and goes on once the status is
   * cleared (§ 6.5.2.10). @returns false when that is not why it stopped.
   */
  #resume(): boolean {
    const status = this.#iommu.readRegister32(VtdRegister.faultStatus);
    if ((status & FSTS_QUEUE_ERROR) !== 0) {
      const code = this.#iommu.readRegister64(VtdRegister.queueError) & 0xfn;
      throw new Error(`${this.#iommu.name}: descriptor refused, code ${code}`);
    }
    const stopped = status & (FSTS_TIMEOUT | FSTS_COMPLETION_ERROR);
    if (stopped === 0) return false;
    this.timeouts++;
    this.#iommu.writeRegister32(VtdRegister.faultStatus, stopped);
    return true;
  }

  #push(w0: number, w1: number, w2: number, w3: number): void {
    if (this.#pending >= CAPACITY - 2) this.submit();
    this.#pending++;
    this.#write(w0, w1, w2, w3);
  }

  #write(w0: number, w1: number, w2: number, w3: number): void {
    const { memory } = this.#frames;
    const at = this.#tail * this.#stride;
    const word = memory.frameWord(this.#first + (at >>> 12)) + ((at & 0xfff) >>> 2);
    memory.words[word] = w0;
    memory.words[word + 1] = w1;
    memory.words[word + 2] = w2;
    memory.words[word + 3] = w3;
    this.#tail = (this.#tail + 1) % CAPACITY;
  }
}

/** Reads and writes that were translated before are drained; not in PASID-based descriptors. */
const DRAIN = 0xc0;
/** Bits of the global command register that are commands for once, not states (§ 11.4.4). */
const GCMD_ONE_SHOT = (1 << 24) | (1 << 27) | (1 << 29) | (1 << 30);
const frameLow = (frame: number): number => (frame % 0x10_0000) << 12;
const frameHigh = (frame: number): number => Math.floor(frame / 0x10_0000);
