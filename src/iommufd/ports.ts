/**
 * What the object layer needs from outside: memory of processes and files, facts about isolation,
 * and a place where allocations can be made to fail.
 */
import type { DmaOwnership, GroupPort, IommuDriver } from "../driver/index.js";
import type { Evidence } from "../isolation/index.js";
import type { Bdf, Span } from "../units/index.js";

export type { LockedMemory, PageSource, UserProcess } from "../files/index.js";

/** A peer's addresses that the fabric serves before the IOMMU sees the request. */
export interface PeerWindow {
  /** The peer. */
  readonly device: Bdf;
  readonly span: Span;
}

export interface PasidPath {
  /** False: a condition fails. */
  readonly ok: boolean;
  /** The only failed conditions are ACS bits on the path: a policy may accept them. */
  readonly onlyPath: boolean;
  readonly because: readonly Evidence[];
}

/** What the fabric says about devices. */
export interface IsolationPort extends GroupPort {
  readonly rules: "device-centric" | "linux-7.2";
  /** Devices that the IOMMU cannot tell from `device`, itself included. */
  aliasSetOf(device: Bdf): readonly Bdf[];
  /** Why `device` shares its address space with the others of its alias set. */
  aliasEvidence(device: Bdf): readonly Evidence[];
  pasidPath(device: Bdf): PasidPath;
  /** A virtual function whose page requests are its physical function's. Absent: none is. */
  sharesPageRequests?(device: Bdf): boolean;
  /** Windows of peers that an untranslated request of `device` reaches; by bus address. */
  peerWindows(device: Bdf): readonly PeerWindow[];
}

/** May refuse an allocation: `memory`'s AllocationPort has this shape. */
export interface AllocationPermit {
  permit(kind: string): boolean;
}

/** One machine, as the object layer sees it; contexts of one machine share it. */
export interface IommufdSystem {
  readonly driver: IommuDriver;
  readonly isolation: IsolationPort;
  readonly ownership: DmaOwnership;
  readonly allocations: AllocationPermit;
  /** Users may own devices whose interrupts are not isolated (a module parameter). */
  readonly allowUnsafeInterrupts: boolean;
}
