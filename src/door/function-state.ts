/**
 * What of a function shows in the tree and may change while the function is there. The nodes of a
 * function are made from this record and the function alone: two equal records look the same.
 */
import type { PciFunction } from "../pcie/index.js";
import type { HostSystem } from "../system/index.js";

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
  /** Directories of its VFs, in order. */
  readonly virtual: readonly string[];
  /** Directory of its PF. */
  readonly physical: string | undefined;
}

/** @param pathOf directory of a function. */
export function functionState(
  system: HostSystem,
  fn: PciFunction,
  pathOf: (fn: PciFunction) => string,
): FunctionState {
  const { bdf, physfn } = fn;
  const virtual = fn.sriov ? system.virtualOf(bdf) : [];
  return {
    fn,
    path: pathOf(fn),
    driver: system.drivers.of(bdf),
    vfio: system.drivers.vfioNumberOf(bdf),
    group: system.isolation.groupOf(bdf)?.id,
    unit: system.machine.unitOf(bdf)?.name,
    virtual: virtual.flatMap((vf) => {
      const found = system.machine.fabric.function(vf);
      return found === undefined ? [] : [pathOf(found)];
    }),
    physical: physfn === undefined ? undefined : pathOf(physfn),
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
    a.virtual.every((path, i) => path === b.virtual[i])
  );
}
