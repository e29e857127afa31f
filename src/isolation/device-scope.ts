/**
 * Device scopes of the DMAR table: which function a bus and a path of device.function pairs lead to, and
 * which unit is in front of a function. VT-d 5.0 § 8.3.1.
 */
import type { Fabric, PciFunction } from "../pcie/index.js";
import type { DeviceScope, DmarTable, DmarUnit } from "./host-facts.js";

/** The function at the end of the path; undefined when some hop is not in the fabric. */
export function resolveScope(
  fabric: Fabric,
  segment: number,
  scope: DeviceScope,
): PciFunction | undefined {
  let bus = fabric.bus(segment, scope.bus);
  let fn: PciFunction | undefined;
  for (const hop of scope.path) {
    fn = bus?.at(((hop.device & 31) << 3) | (hop.fn & 7));
    bus = fn?.secondaryBus;
  }
  return fn;
}

/** Answers by the nearest function above (or the function itself) that something is attached to. */
export class NearestAbove<T> {
  readonly #own: ReadonlyMap<PciFunction, T>;
  readonly #cache = new Map<PciFunction, T | undefined>();

  constructor(own: ReadonlyMap<PciFunction, T>) {
    this.#own = own;
  }

  of(fn: PciFunction): T | undefined {
    const passed: PciFunction[] = [];
    let at: PciFunction | undefined = fn;
    let found: T | undefined;
    for (; at !== undefined; at = at.upstreamBridge) {
      found = this.#own.get(at);
      if (found !== undefined) break;
      if (this.#cache.has(at)) {
        found = this.#cache.get(at);
        break;
      }
      passed.push(at);
    }
    for (const below of passed) this.#cache.set(below, found);
    return found;
  }
}

/**
 * The remapping unit in front of a function: the unit that lists it or a bridge above it, else the unit of
 * its segment that includes all others. A VF is looked up as its PF.
 */
export class DmarUnits {
  readonly #listed: NearestAbove<DmarUnit>;
  readonly #rest = new Map<number, DmarUnit>();

  constructor(fabric: Fabric, dmar: DmarTable) {
    const own = new Map<PciFunction, DmarUnit>();
    for (const unit of dmar.units) {
      if (unit.includeAll) this.#rest.set(unit.segment, unit);
      for (const scope of unit.scopes) {
        if (scope.kind !== "endpoint" && scope.kind !== "sub-hierarchy") continue;
        const fn = resolveScope(fabric, unit.segment, scope);
        if (fn !== undefined && !own.has(fn)) own.set(fn, unit);
      }
    }
    this.#listed = new NearestAbove(own);
  }

  of(fn: PciFunction): DmarUnit | undefined {
    const subject = fn.physfn ?? fn;
    return this.#listed.of(subject) ?? this.#rest.get(subject.segment);
  }
}
