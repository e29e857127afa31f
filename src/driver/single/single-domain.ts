/** Domains of an IOMMU without requester matching: one table, forgotten as a whole. */
import { UapiError } from "../../abi/index.js";
import type { Iommu } from "../../iommu/index.js";
import { SingleTableRegister } from "../../iommu/index.js";
import type { Span } from "../../units/index.js";
import type { BlockedDomain, IommuInstance, PagingDomain, Prot } from "../driver-port.js";
import { RadixTable } from "../radix.js";
import { pageSizesOf } from "../radix-format.js";
import type { TableFrames } from "../table-frames.js";
import { type LargestLeaf, STAGE2_SNOOP, stage2Format } from "../vtd/page-formats.js";

/** Depth of its tables: 48 bits of address. */
export const SINGLE_LEVELS = 4;

/** One unit, through its registers. */
export class SingleUnit implements IommuInstance {
  readonly label: string;
  readonly iommu: Iommu;
  readonly largest: LargestLeaf;

  constructor(iommu: Iommu) {
    this.label = iommu.name;
    this.iommu = iommu;
    const capability = iommu.readRegister32(SingleTableRegister.capability);
    this.largest = (capability & 0x300) === 0x300 ? 3 : (capability & 0x100) !== 0 ? 2 : 1;
  }

  /** Makes the unit walk this table, and forget all that it knew. */
  use(root: number): void {
    const value = (BigInt(root) << 12n) | BigInt(SINGLE_LEVELS);
    this.iommu.writeRegister64(SingleTableRegister.table, value);
    this.iommu.writeRegister64(SingleTableRegister.control, 1n);
    this.flush();
  }

  /** Passes all requests unchanged. */
  bypass(): void {
    this.iommu.writeRegister64(SingleTableRegister.control, 0n);
    this.flush();
  }

  flush(): void {
    this.iommu.writeRegister64(SingleTableRegister.flush, 1n);
  }
}

/** An empty table. */
export class SingleBlockedDomain implements BlockedDomain {
  readonly kind = "blocked";
  readonly instance: SingleUnit;

  constructor(instance: SingleUnit) {
    this.instance = instance;
  }
}

/** One address space; whoever holds it, all devices behind the unit use it. */
export class SinglePagingDomain implements PagingDomain {
  readonly kind = "paging";
  readonly instance: SingleUnit;
  readonly granuleShift = 12;
  readonly pageSizes: bigint;
  readonly aperture: Span = { first: 0n, last: (1n << 48n) - 1n };
  readonly nestParent = false;
  readonly enforcesCoherency = true;
  readonly dirty = undefined;
  /** Slots that hold it. */
  users = 0;
  readonly #table: RadixTable;
  readonly #frames: TableFrames;
  #stale = false;
  #freed = false;

  /** @throws UapiError ENOMEM. */
  constructor(unit: SingleUnit, frames: TableFrames, label: string) {
    const format = stage2Format(SINGLE_LEVELS, unit.largest);
    this.instance = unit;
    this.pageSizes = pageSizesOf(format);
    this.#frames = frames;
    this.#table = new RadixTable(frames, format, { label });
  }

  get root(): number {
    return this.#table.root;
  }

  map(iova: number, pa: number, count: number, prot: Prot): void {
    if (iova < 0 || count < 1 || iova + count > this.#table.limit) {
      throw new UapiError("EINVAL", "the addresses lie outside of what the domain can map", {
        evidence: [{ kind: "outside-aperture", windows: [this.aperture] }],
      });
    }
    if (pa < 0 || pa + count > 2 ** 40) {
      throw new UapiError("EINVAL", "the physical addresses have more than 52 bits");
    }
    if ((prot & 3) === 0) throw new UapiError("EINVAL", "a mapping must be readable or writable");
    this.#table.map(iova, pa, count, prot, STAGE2_SNOOP);
  }

  unmap(iova: number, count: number): number {
    const removed = this.#table.unmap(iova, count);
    if (removed > 0) this.#stale = true;
    return removed;
  }

  split(iova: number): void {
    if (iova > 0 && iova < this.#table.limit && this.#table.split(iova)) this.#stale = true;
  }

  sync(): void {
    if (this.#stale && this.users > 0) this.instance.flush();
    this.#stale = false;
    for (const pfn of this.#table.unlinked.splice(0)) this.#frames.free(pfn);
  }

  translate(iova: number): number | undefined {
    return this.#table.translate(iova);
  }

  free(): void {
    if (this.users > 0) throw new Error("a domain is freed while in use");
    if (this.#freed) return;
    this.#freed = true;
    this.#table.free();
  }
}
