/**
 * What of a function shows in the tree and may change while the function is there. The nodes of a
 * function are made from this record and the function alone: two equal records look the same.
 */
import type { PciFunction } from "../pcie/index.js";
import type { HostSystem } from "../system/index.js";
import type { Bdf } from "../units/index.js";

export interface FunctionState {
  readonly fn: PciFunction;
  /** Directory of the function below /sys/devices. */
  readonly path: string;
  readonly driver: string | undefined;
  /** N of vfioN. */
  readonly vfio: number | undefined;
  /** Group number. */
  readonly group: number | undefined;
  /** Name of the IOMMU unit in front of it. */
  readonly unit: string | undefined;
  readonly virtual: readonly Bdf[];
  readonly physical: Bdf | undefined;
}

/** @param path of the function's directory. */
export function functionState(system: HostSystem, fn: PciFunction, path: string): FunctionState {
  const { bdf } = fn;
  return {
    fn,
    path,
    driver: system.drivers.of(bdf),
    vfio: system.drivers.vfioNumberOf(bdf),
    group: system.isolation.groupOf(bdf)?.id,
    unit: system.machine.unitOf(bdf)?.name,
    virtual: fn.sriov ? system.virtualOf(bdf) : [],
    physical: fn.physfn?.bdf,
  };
}

export function sameState(a: FunctionState, b: FunctionState): boolean {
  return (
    a.path === b.path &&
    a.driver === b.driver &&
    a.vfio === b.vfio &&
    a.group === b.group &&
    a.unit === b.unit &&
    a.physical === b.physical &&
    a.virtual.length === b.virtual.length &&
    a.virtual.every((bdf, i) => bdf === b.virtual[i])
  );
}
