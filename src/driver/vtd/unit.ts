/**
 * VtdUnit: one remapping unit under control of the driver: VT-d 5.0 § 10.
 *
 * Constructing it sets up invalidation queue, device table and, where there is one, the page
 * request queue and the interrupt remapping table, and switches translation on. From then on a
 * device that was given nothing is blocked: its context entry is not present.
 */
import { UapiError } from "../../abi/index.js";
import { VtdRegister } from "../../formats/index.js";
import type { Iommu } from "../../iommu/index.js";
import type { AllocationPort, FrameOwner } from "../../memory/index.js";
import type { DriverOptions } from "../driver-host.js";
import type { IommuInstance } from "../driver-port.js";
import type { TableFrames } from "../table-frames.js";
import { InterruptTable } from "./interrupt-table.js";
import { InvalidationQueue } from "./invalidation-queue.js";
import { PageRequestDesk } from "./page-request-desk.js";
import { PageRequestQueue } from "./page-request-queue.js";
import { DeviceTable, Requester } from "./requester.js";
import { readUnitCapabilities, type UnitCapabilities } from "./unit-capabilities.js";

/** Domain id of rows that pass requests through; 0 is never used (§ 6.2.2.1, caching mode). */
export const PASS_THROUGH_ID = 1;
const FIRST_ID = 2;
const GCMD_TRANSLATION = 1 << 31;
const GCMD_SET_ROOT = 1 << 30;
const GCMD_INTERRUPTS = 1 << 25;
const GCMD_SET_INTERRUPT_TABLE = 1 << 24;
/** Bits of the command register that keep their state (§ 11.4.4). */
const STATE_BITS = 0x96ff_ffff;
const ROOT_SCALABLE = 1n << 10n;

export class VtdUnit implements IommuInstance {
  readonly label: string;
  readonly iommu: Iommu;
  readonly capabilities: UnitCapabilities;
  readonly scalable: boolean;
  readonly queue: InvalidationQueue;
  readonly interrupts: InterruptTable | undefined;
  readonly pageRequests: PageRequestQueue | undefined;
  readonly desk: PageRequestDesk;
  readonly #frames: TableFrames;
  readonly #owner: FrameOwner;
  readonly #table: DeviceTable;
  readonly #requesters = new Map<number, Requester>();
  readonly #allocations: AllocationPort | undefined;
  readonly #freeIds: number[] = [];
  #nextId = FIRST_ID;

  /** @throws UapiError ENOMEM; EOPNOTSUPP a unit that cannot be driven. */
  constructor(
    iommu: Iommu,
    frames: TableFrames,
    allocations: AllocationPort | undefined,
    options: DriverOptions,
  ) {
    this.label = iommu.name;
    this.iommu = iommu;
    this.#frames = frames;
    this.#allocations = allocations;
    this.#owner = { label: `${iommu.name} tables` };
    const caps = readUnitCapabilities(
      iommu.readRegister64(VtdRegister.capability),
      iommu.readRegister64(VtdRegister.extendedCapability),
    );
    this.capabilities = caps;
    if (!caps.queue) throw new UapiError("EOPNOTSUPP", "the unit has no invalidation queue");
    this.scalable = caps.scalable && options.scalable !== false;
    this.queue = new InvalidationQueue(iommu, frames, this.#owner, this.scalable);
    this.desk = new PageRequestDesk(this.queue);
    this.#table = new DeviceTable(frames, this.#owner, this.scalable);
    this.#setRoot();
    if (caps.interruptRemapping && options.remapInterrupts !== false) {
      const log2 = options.interruptEntriesLog2 ?? 8;
      this.interrupts = new InterruptTable(iommu, frames, this.#owner, this.queue, log2);
      this.#command(GCMD_SET_INTERRUPT_TABLE);
      this.queue.interruptAll();
      this.queue.submit();
      this.#command(GCMD_INTERRUPTS);
    }
    if (this.scalable && caps.pageRequests) {
      this.pageRequests = new PageRequestQueue(iommu, frames, this.#owner);
    }
    this.#command(GCMD_TRANSLATION);
  }

  /** Bits of a PASID that rows can be made for; 0 in legacy mode. */
  get pasidBits(): number {
    return this.scalable ? this.capabilities.pasidBits : 0;
  }

  /** The rows of a requester, made when missing. @throws UapiError ENOMEM. */
  requester(rid: number, pasidBits: number): Requester {
    const found = this.#requesters.get(rid);
    if (found !== undefined) {
      found.widen(pasidBits);
      return found;
    }
    const made = new Requester(this.#table, rid, this.#frames, this.#owner, pasidBits);
    this.#requesters.set(rid, made);
    if (this.capabilities.cachingMode) {
      this.queue.contextDevice(rid, 0);
      this.queue.submit();
    }
    return made;
  }

  /** Forgets a requester whose rows are all not present. */
  dropRequester(requester: Requester): void {
    if (this.#requesters.get(requester.rid) !== requester) return;
    this.#requesters.delete(requester.rid);
    requester.retire();
    this.queue.contextDevice(requester.rid, 0);
    if (this.scalable) this.queue.pasidAll();
    this.queue.submit();
    requester.free();
  }

  /** @throws UapiError ENOSPC all ids are in use; ENOMEM the allocation was refused. */
  allocateId(): number {
    if (this.#allocations?.permit("domain-id") === false) {
      throw new UapiError("ENOMEM", "no domain id was granted");
    }
    const id = this.#freeIds.pop() ?? this.#nextId;
    if (id >= this.capabilities.domainIds) {
      throw new UapiError("ENOSPC", "every domain id of the unit is in use", {
        evidence: [{ kind: "domain-ids-exhausted", unit: this.label, count: this.#nextId }],
      });
    }
    if (id === this.#nextId) this.#nextId++;
    return id;
  }

  releaseId(id: number): void {
    if (id !== PASS_THROUGH_ID) this.#freeIds.push(id);
  }

  /** Domain ids in use. */
  get usedIds(): number {
    return this.#nextId - FIRST_ID - this.#freeIds.length;
  }

  #setRoot(): void {
    const mode = this.scalable ? ROOT_SCALABLE : 0n;
    const address = (BigInt(this.#table.root) << 12n) | mode;
    this.iommu.writeRegister64(VtdRegister.rootTable, address);
    this.#command(GCMD_SET_ROOT);
    this.queue.contextAll();
    if (this.scalable) this.queue.pasidAll();
    this.queue.iotlbAll();
    this.queue.submit();
  }

  #command(bit: number): void {
    const state = this.iommu.readRegister32(VtdRegister.globalStatus) & STATE_BITS;
    this.iommu.writeRegister32(VtdRegister.globalCommand, (state | bit) >>> 0);
  }
}
