/** What a unit's translator is put together from. */
import type { Iotlb } from "../iotlb.js";
import type { Stage1Walk } from "../walk-stage1.js";
import type { Stage2Walk } from "../walk-stage2.js";
import type { VtdCapabilities } from "./capabilities.js";
import type { DeviceTable } from "./device-table.js";
import type { EventLog } from "./event-log.js";
import type { PasidTable } from "./pasid-table.js";
import type { ProtectedMemory } from "./protected-memory.js";

/** The parts that a translation uses. */
export interface TranslatorParts {
  readonly capabilities: VtdCapabilities;
  readonly contexts: DeviceTable;
  readonly pasids: PasidTable;
  readonly iotlb: Iotlb;
  readonly stage1: Stage1Walk;
  readonly stage2: Stage2Walk;
  readonly log: EventLog;
  readonly protection: ProtectedMemory;
}
