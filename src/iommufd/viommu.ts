/**
 * vIOMMU: a slice of an IOMMU for one virtual machine, on top of a nesting parent; vDEVICEs, event
 * queues and hardware queues belong to it. Linux viommu.c.
 */
import type { HardwareQueue, VirtualIommu } from "../driver/index.js";
import type { HwptPaging } from "./hw-pagetable.js";
import type { IommufdObject } from "./object-table.js";

/** Takes events of one type. */
export interface EventSink extends IommufdObject {
  report(data: Uint8Array): void;
}

/** One virtual IOMMU. */
export class Viommu implements IommufdObject {
  readonly kind = "viommu";
  readonly id: number;
  readonly parent: HwptPaging;
  readonly type: number;
  readonly virtual: VirtualIommu;
  readonly vdevices = new Map<bigint, IommufdObject>();
  readonly queues = new Map<number, EventSink>();
  users = 0;
  /** Takes back the memory that the user may map. */
  onDestroy: (() => void) | undefined;

  constructor(id: number, parent: HwptPaging, type: number, virtual: VirtualIommu) {
    this.id = id;
    this.parent = parent;
    this.type = type;
    this.virtual = virtual;
    parent.users++;
  }

  destroy(): void {
    this.onDestroy?.();
    this.virtual.free();
    this.parent.users--;
  }
}

/** A queue of commands that the hardware reads from guest memory. */
export class HwQueue implements IommufdObject {
  readonly kind = "hw-queue";
  readonly id: number;
  readonly viommu: Viommu;
  readonly queue: HardwareQueue;
  readonly #dependsOn: HwQueue | undefined;
  readonly #release: () => void;
  users = 0;

  constructor(
    id: number,
    viommu: Viommu,
    queue: HardwareQueue,
    dependsOn: HwQueue | undefined,
    release: () => void,
  ) {
    this.id = id;
    this.viommu = viommu;
    this.queue = queue;
    this.#dependsOn = dependsOn;
    this.#release = release;
    viommu.users++;
    if (dependsOn !== undefined) dependsOn.users++;
  }

  destroy(): void {
    this.queue.free();
    this.#release();
    this.viommu.users--;
    if (this.#dependsOn !== undefined) this.#dependsOn.users--;
  }
}
