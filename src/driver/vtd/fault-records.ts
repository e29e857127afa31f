/** Taking faults out of a unit's records: VT-d 5.0 § 7.2, § 11.4.14. */
import { VTD_FAULT_RECORD as FR, getField, VtdRegister } from "../../formats/index.js";
import type { Iommu } from "../../iommu/index.js";
import { makePasid } from "../../units/index.js";
import type { DmaFault } from "../driver-port.js";
import type { UnitCapabilities } from "./unit-capabilities.js";

export interface FaultRecord extends Omit<DmaFault, "device"> {
  readonly rid: number;
}

const PENDING = 2;
const OVERFLOW = 1;
const FAULT_BIT = 0x8000_0000;
const RECORD_BYTES = 16;

/** Oldest first; the records are free again afterwards. */
export function takeFaults(iommu: Iommu, capabilities: UnitCapabilities): FaultRecord[] {
  const out: FaultRecord[] = [];
  const { faultOffset, faultRecords } = capabilities;
  for (let left = faultRecords; left > 0; left--) {
    const status = iommu.readRegister32(VtdRegister.faultStatus);
    if ((status & PENDING) === 0) break;
    const index = (status >>> 8) & 0xff;
    const at = faultOffset + index * RECORD_BYTES;
    const words = [0, 4, 8, 12].map((offset) => iommu.readRegister32(at + offset));
    out.push(decode(iommu, words));
    iommu.writeRegister32(at + 12, FAULT_BIT);
  }
  iommu.writeRegister32(VtdRegister.faultStatus, OVERFLOW);
  return out;
}

function decode(iommu: Iommu, words: readonly number[]): FaultRecord {
  const code = getField(words, 0, FR.reason);
  const hasPasid = getField(words, 0, FR.pasidPresent) !== 0;
  return {
    unit: iommu.name,
    rid: getField(words, 0, FR.sourceId),
    pasid: hasPasid ? makePasid(getField(words, 0, FR.pasid)) : undefined,
    address: BigInt(getField(words, 0, FR.frame)) << 12n,
    write: getField(words, 0, FR.type1) === 0,
    code,
    reason: iommu.faultName(code),
  };
}
