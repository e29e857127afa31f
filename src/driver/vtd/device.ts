/** VtdDevice: one function as the VT-d driver knows it. */
import type { Bdf } from "../../units/index.js";
import type { DeviceFeatures } from "../device-features.js";
import type { Domain } from "../driver-port.js";
import type { VtdDomain } from "./attachment.js";
import type { DeviceTlbTarget } from "./invalidation-queue.js";
import type { Requester } from "./requester.js";
import type { Rows } from "./rows.js";
import type { VtdUnit } from "./unit.js";

export interface VtdDevice {
  readonly bdf: Bdf;
  readonly unit: VtdUnit;
  readonly rows: Rows;
  /** Rows of every requester ID of it; some may be shared with other devices. */
  readonly requesters: readonly Requester[];
  /** By requester. */
  readonly targets: ReadonlyMap<Requester, DeviceTlbTarget>;
  readonly features: DeviceFeatures | undefined;
  /** The kernel's own domain; shared by devices that share a requester. */
  readonly kernel: VtdDomain;
  /** What is on for this device; an entry that it shares has what any of its devices has. */
  readonly switches: { deviceTlb: boolean; pageRequests: boolean };
  /** What each slot holds; undefined: the kernel's own domain. 0: requests without PASID. */
  readonly slots: Map<number, Domain | undefined>;
}
