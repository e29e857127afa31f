/** What counts as an interrupt request: VT-d 5.0 § 3.14. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { VtdRegister } from "../formats/index.js";
import { PhysicalMemory } from "../memory/index.js";
import {
  DmaAccess,
  DmaAddressType,
  DmaAnswer,
  DmaRequest,
  DmaStatus,
  type Iommu,
  SingleTableUnit,
  VtdUnit,
} from "./index.js";

const PORTS = {
  invalidateDeviceTlb: () => false,
  answerPageGroup: () => {},
  sendInterrupt: () => {},
};

function units(): Iommu[] {
  const vtd = new VtdUnit(new PhysicalMemory(), PORTS, {});
  vtd.writeRegister32(VtdRegister.globalCommand, 0x8000_0000);
  return [vtd, new SingleTableUnit(new PhysicalMemory())];
}

const MESSAGE = { access: DmaAccess.write, lo: 0xfee0_1000 | 0, hi: 0, length: 4 };

test("an aligned write of four bytes is an interrupt, every other access there is refused", () => {
  const others: readonly Partial<DmaRequest>[] = [
    { length: 8 },
    { length: 1 },
    { lo: 0xfee0_1002 | 0 },
    { access: DmaAccess.read },
    { access: DmaAccess.atomic },
    { addressType: DmaAddressType.translated },
    { addressType: DmaAddressType.translationRequest },
  ];
  for (const unit of units()) {
    const ask = (how: Partial<DmaRequest>) => {
      const answer = new DmaAnswer();
      unit.translate(Object.assign(new DmaRequest(), MESSAGE, how), answer);
      return answer.status;
    };
    assert.equal(ask({}), DmaStatus.interrupt, unit.kind);
    for (const how of others) {
      assert.equal(ask(how), DmaStatus.fault, `${unit.kind} ${JSON.stringify(how)}`);
    }
  }
});
