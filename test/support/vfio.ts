/** A machine of mock devices, each of which a VFIO driver has unless it is taken away. */

import type { DmaDevice } from "../../src/driver/index.js";
import type { Bdf } from "../../src/units/index.js";
import { VfioContainer, VfioGroups, type VfioSystem } from "../../src/vfio/index.js";
import { plainDevice, TestProcess, TestSystem, type TestSystemOptions } from "./iommufd.js";

export class VfioTestSystem extends TestSystem implements VfioSystem {
  readonly process = new TestProcess();
  readonly withoutDriver = new Set<Bdf>();
  readonly groups: VfioGroups;

  constructor(options: TestSystemOptions = {}) {
    super(options);
    this.groups = new VfioGroups(this);
  }

  vfioDevice(bdf: Bdf): DmaDevice | undefined {
    if (this.withoutDriver.has(bdf) || !this.devices.includes(bdf)) return undefined;
    return plainDevice(this.driver, bdf);
  }

  container(): VfioContainer {
    return new VfioContainer(this, this.process);
  }
}
