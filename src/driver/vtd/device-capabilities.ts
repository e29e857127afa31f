/** What device, path and unit can do together, as far as VT-d and the driver go. */
import type { Bdf } from "../../units/index.js";
import type { DriverHost } from "../driver-host.js";
import type { DeviceCapabilities } from "../driver-port.js";
import type { VtdUnit } from "./unit.js";

export class VtdCapabilityReader {
  readonly #host: DriverHost;

  constructor(host: DriverHost) {
    this.#host = host;
  }

  of(device: Bdf, unit: VtdUnit): DeviceCapabilities {
    const caps = unit.capabilities;
    const fn = this.#host.functionOf(device);
    const pasid = (fn?.physfn ?? fn)?.pasid;
    const bits = this.pasidBits(device, unit);
    const ats = caps.deviceTlb && fn?.ats != null && this.#host.atsPath(device).ok;
    const pri = (fn?.physfn ?? fn)?.pri;
    return {
      // Requests that do not ask for no-snoop are coherent on every Intel host.
      cacheCoherent: true,
      enforcesCoherency: caps.snoop,
      dirtyTracking: unit.scalable && caps.dirty,
      maxPasids: bits === 0 ? 0 : 2 ** bits,
      pasidExecute: bits > 0 && caps.executeRequests && pasid?.execute === true,
      pasidPrivileged: bits > 0 && caps.supervisorRequests && pasid?.privileged === true,
      ats,
      pageRequests: ats && unit.pageRequests !== undefined && pri != null,
      isolatedMsi: unit.interrupts !== undefined,
    };
  }

  /**
   * PASIDs below 2^this can be used on the device; 0 without. A path that lacks ACS bits does not
   * count here: whether that is acceptable is a policy.
   */
  pasidBits(device: Bdf, unit: VtdUnit): number {
    const fn = this.#host.functionOf(device);
    const width = (fn?.physfn ?? fn)?.pasid?.width ?? 0;
    if (unit.pasidBits === 0 || width === 0) return 0;
    const path = this.#host.pasidPath(device);
    if (!path.ok && path.onlyAcs !== true) return 0;
    return Math.min(width, unit.pasidBits);
  }
}
