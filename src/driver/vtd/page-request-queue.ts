/** PageRequestQueue: requests that a unit puts into memory: VT-d 5.0 § 7.4-7.5. */
import { getField, VTD_PAGE_REQUEST as PR, VtdRegister } from "../../formats/index.js";
import type { Iommu } from "../../iommu/index.js";
import type { FrameOwner } from "../../memory/index.js";
import type { TableFrames } from "../table-frames.js";

/** One request as the unit saw it. */
export interface QueuedPageRequest {
  readonly rid: number;
  readonly pasid: number | undefined;
  readonly group: number;
  /** Page frame of the address. */
  readonly frame: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  readonly privileged: boolean;
  readonly last: boolean;
}

/** One frame: 128 requests of 32 bytes. */
const QUEUE_BYTES = 4096;
const REQUEST_BYTES = 32;
const OVERFLOW = 2;
const PENDING = 1;

export class PageRequestQueue {
  readonly #iommu: Iommu;
  readonly #frames: TableFrames;
  readonly #first: number;
  /** Times the queue was found to have overflowed. */
  overflows = 0;

  /** @throws UapiError ENOMEM. */
  constructor(iommu: Iommu, frames: TableFrames, owner: FrameOwner) {
    this.#iommu = iommu;
    this.#frames = frames;
    this.#first = frames.allocate(owner);
    iommu.writeRegister64(VtdRegister.pageRequestHead, 0n);
    iommu.writeRegister64(VtdRegister.pageRequestTail, 0n);
    iommu.writeRegister64(VtdRegister.pageRequestAddress, BigInt(this.#first) << 12n);
  }

  /** Takes all requests out, oldest first. */
  take(): QueuedPageRequest[] {
    const tail = Number(this.#iommu.readRegister64(VtdRegister.pageRequestTail));
    let head = Number(this.#iommu.readRegister64(VtdRegister.pageRequestHead));
    const out: QueuedPageRequest[] = [];
    const { memory } = this.#frames;
    const base = memory.frameWord(this.#first);
    for (; head !== tail && base >= 0; head = (head + REQUEST_BYTES) % QUEUE_BYTES) {
      out.push(decode(memory.words, base + (head >>> 2)));
    }
    this.#iommu.writeRegister64(VtdRegister.pageRequestHead, BigInt(head));
    const status = this.#iommu.readRegister32(VtdRegister.pageRequestStatus);
    if ((status & OVERFLOW) !== 0) this.overflows++;
    if (status !== 0) {
      this.#iommu.writeRegister32(VtdRegister.pageRequestStatus, OVERFLOW | PENDING);
    }
    return out;
  }
}

function decode(words: Uint32Array, at: number): QueuedPageRequest {
  const flag = (field: { low: number; width: number }): boolean => getField(words, at, field) !== 0;
  return {
    rid: getField(words, at, PR.requesterId),
    pasid: flag(PR.pasidPresent) ? getField(words, at, PR.pasid) : undefined,
    group: getField(words, at, PR.groupIndex),
    frame: getField(words, at, PR.frame),
    read: flag(PR.read),
    write: flag(PR.write),
    execute: flag(PR.execute),
    privileged: flag(PR.privileged),
    last: flag(PR.lastPage),
  };
}
