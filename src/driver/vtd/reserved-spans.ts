/**
 * Memory that stays mapped for a device behind a VT-d unit: what firmware keeps, and for an ISA
 * bridge the first 16 MiB, which devices behind it may reach by themselves (Linux
 * intel_iommu_get_resv_regions(), with its workaround for floppies).
 */
import type { Bdf } from "../../units/index.js";
import type { DriverHost } from "../driver-host.js";
import type { ReservedSpan } from "../driver-port.js";

const ISA_BRIDGE = 0x0601;
const ISA_WINDOW: ReservedSpan = {
  span: { first: 0n, last: 0xff_ffffn },
  kind: "direct-relaxable",
};

/** Without the interrupt range. */
export function vtdReservedSpans(host: DriverHost, device: Bdf): readonly ReservedSpan[] {
  const kept = host.reservedOf(device);
  const classCode = host.functionOf(device)?.ids.classCode;
  const isIsa = classCode !== undefined && classCode >>> 8 === ISA_BRIDGE;
  return isIsa ? [...kept, ISA_WINDOW] : kept;
}
