/**
 * What the calls of one open /dev/iommu share: objects, memory tables, accounting mode, policy, and
 * the machine behind it.
 */
import type { DmaOwner } from "../driver/index.js";
import type { AttachPolicy } from "./api.js";
import type { SpaceTables } from "./io-pagetable.js";
import { ObjectTable } from "./object-table.js";
import { OriginTable } from "./origin.js";
import type { IommufdSystem, UserProcess } from "./ports.js";
import { SharedPagesTable } from "./shared-pages.js";
import { SlotTable } from "./slot.js";

export class ContextState {
  readonly system: IommufdSystem;
  /** Who opened it: calls that name no process come from here. */
  readonly caller: UserProcess;
  readonly objects: ObjectTable;
  readonly tables: SpaceTables;
  readonly slots = new SlotTable();
  /** Identity for ownership of devices. */
  readonly owner: DmaOwner;
  /** Locked memory is charged to the process, not to its user (IOMMU_OPTION_RLIMIT_MODE). */
  mmMode = false;
  policy: AttachPolicy = {};
  /** The IOAS that the VFIO compatibility calls use. */
  compatIoasId: number | undefined;

  constructor(system: IommufdSystem, caller: UserProcess) {
    this.system = system;
    this.caller = caller;
    this.owner = { label: caller.label };
    this.objects = new ObjectTable(system.allocations);
    this.tables = {
      origins: new OriginTable(),
      sharedPages: new SharedPagesTable(),
      allocations: system.allocations,
    };
  }
}
