/**
 * HWPT: one hardware page table as an object. A paging one shows an IOAS, a nested one is a guest's
 * table on top of a paging parent.
 *
 * An automatic page table comes with the first attach to an IOAS and goes with the last detach; a
 * manual one was allocated by the user and stays.
 */
import type { NestedDomain, PagingDomain } from "../driver/index.js";
import type { FaultQueue } from "./fault.js";
import type { Ioas } from "./ioas.js";
import type { IommufdObject } from "./object-table.js";

/** A page table that shows an IOAS. */
export class HwptPaging implements IommufdObject {
  readonly kind = "hwpt-paging";
  readonly id: number;
  readonly ioas: Ioas;
  readonly domain: PagingDomain;
  readonly auto: boolean;
  readonly nestParent: boolean;
  readonly pasidCompatible: boolean;
  fault: FaultQueue | undefined;
  users = 0;

  /** Takes over the domain; not part of the IOAS until {@link join}. */
  constructor(id: number, ioas: Ioas, domain: PagingDomain, options: HwptOptions) {
    this.id = id;
    this.ioas = ioas;
    this.domain = domain;
    this.auto = options.auto;
    this.nestParent = options.nestParent;
    this.pasidCompatible = options.pasidCompatible;
    ioas.users++;
    this.takeFaults(options.fault);
  }

  /** Enters all areas of the IOAS in the domain. @throws as `IoPagetable.addDomain`. */
  join(): void {
    this.ioas.space.addDomain(this.domain);
    this.ioas.hwpts.push(this);
  }

  /** Faults of devices on it go to this queue. */
  takeFaults(fault: FaultQueue | undefined): void {
    this.fault = fault;
    if (fault !== undefined) fault.users++;
  }

  destroy(): void {
    const at = this.ioas.hwpts.indexOf(this);
    if (at >= 0) this.ioas.hwpts.splice(at, 1);
    this.ioas.space.removeDomain(this.domain);
    this.domain.free();
    this.ioas.users--;
    if (this.fault !== undefined) this.fault.users--;
  }
}

export interface HwptOptions {
  readonly auto: boolean;
  readonly nestParent: boolean;
  readonly pasidCompatible: boolean;
  readonly fault: FaultQueue | undefined;
}

/** A guest's page table. */
export class HwptNested implements IommufdObject {
  readonly kind = "hwpt-nested";
  readonly id: number;
  readonly parent: HwptPaging;
  readonly domain: NestedDomain;
  /** The vIOMMU it was allocated through. */
  readonly viommu: IommufdObject | undefined;
  readonly pasidCompatible: boolean;
  fault: FaultQueue | undefined;
  users = 0;

  constructor(
    id: number,
    parent: HwptPaging,
    domain: NestedDomain,
    viommu: IommufdObject | undefined,
    options: Pick<HwptOptions, "pasidCompatible" | "fault">,
  ) {
    this.id = id;
    this.parent = parent;
    this.domain = domain;
    this.viommu = viommu;
    this.pasidCompatible = options.pasidCompatible;
    this.fault = options.fault;
    if (viommu === undefined) parent.users++;
    else viommu.users++;
    if (this.fault !== undefined) this.fault.users++;
  }

  destroy(): void {
    this.domain.free();
    if (this.viommu === undefined) this.parent.users--;
    else this.viommu.users--;
    if (this.fault !== undefined) this.fault.users--;
  }
}

export type Hwpt = HwptPaging | HwptNested;

/** The paging table whose space a HWPT uses. */
export const pagingOf = (hwpt: Hwpt): HwptPaging =>
  hwpt.kind === "hwpt-paging" ? hwpt : hwpt.parent;
