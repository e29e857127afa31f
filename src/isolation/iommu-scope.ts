/**
 * Which functions an IOMMU covers, by the firmware's table. A function outside every unit has no
 * group.
 *
 *   DMAR  a unit names endpoints and bridges by path, or takes all that no other unit names
 *         (VT-d 5.0 § 8.3)
 *   IVRS  a unit names ranges of requester IDs; never the IOMMU itself
 *         (AMD I/O Virtualization 3.10 § 5.2)
 *   IORT  a root complex maps ranges of requester IDs to an SMMU (Arm DEN0049 § 3.1.1)
 *   VIOT  ranges of segments and requester IDs; never the virtio-iommu itself (ACPI 6.5 § 5.2.38)
 *
 * A VF goes where its PF goes under DMAR. Functions of a VMD domain go where the VMD goes (the
 * caller asks for it).
 */
import type { Fabric, PciFunction } from "../pcie/index.js";
import { bdfFromRid } from "../units/index.js";
import type { Evidence } from "./evidence.js";
import type { DeviceScope, DmarUnit, HostFacts } from "./host-facts.js";
import { switchesOffGraphicsUnit } from "./quirks.js";

export type Coverage = "covered" | "outside" | "unknown";
export type ScopeTable = "dmar" | "ivrs" | "iort" | "viot";

export interface IommuScope {
  /** The table that decides; undefined when none was captured: then every coverage is unknown. */
  readonly table: ScopeTable | undefined;
  coverage(fn: PciFunction): Coverage;
  /**
   * Index in the table's units (IORT: root complexes, VIOT: ranges) of the unit that covers `fn`.
   */
  unitOf(fn: PciFunction): number | undefined;
  /** Why `fn` is outside, or why its coverage is not known. */
  why(fn: PciFunction): Evidence;
}

const CITE: Readonly<Record<ScopeTable, string>> = {
  dmar: "VT-d 5.0 § 8.3",
  ivrs: "AMD I/O Virtualization 3.10 § 5.2",
  iort: "Arm DEN0049 § 3.1.1",
  viot: "ACPI 6.5 § 5.2.38",
};

/** The scope by the one table that is there; DMAR, IVRS, IORT, VIOT in this order. */
export function iommuScope(fabric: Fabric, facts: HostFacts): IommuScope {
  if (facts.dmar !== undefined) return new DmarScope(fabric, facts.dmar.units);
  if (facts.ivrs !== undefined) {
    const { units } = facts.ivrs;
    const themselves = new Set<number>(units.map((unit) => unit.iommu));
    return rangeScope("ivrs", (fn) => {
      if (themselves.has(fn.bdf)) return -1;
      return units.findIndex(
        (unit) =>
          unit.segment === fn.segment &&
          (contains(unit.covered, fn.rid) || contains(unit.aliases, fn.rid)),
      );
    });
  }
  if (facts.iort !== undefined) {
    const { rootComplexes } = facts.iort;
    return rangeScope("iort", (fn) =>
      rootComplexes.findIndex(
        (root) =>
          root.segment === fn.segment &&
          root.mappings.some(
            (m) =>
              (m.to === "smmu" || m.to === "smmuv3") && fn.rid >= m.firstRid && fn.rid <= m.lastRid,
          ),
      ),
    );
  }
  if (facts.viot !== undefined) {
    const { ranges, iommus } = facts.viot;
    return rangeScope("viot", (fn) =>
      iommus.includes(fn.bdf)
        ? -1
        : ranges.findIndex(
            (r) =>
              fn.segment >= r.firstSegment &&
              fn.segment <= r.lastSegment &&
              fn.rid >= r.firstBdf &&
              fn.rid <= r.lastBdf,
          ),
    );
  }
  return NO_TABLE;
}

const NO_TABLE: IommuScope = {
  table: undefined,
  coverage: () => "unknown",
  unitOf: () => undefined,
  why: (fn) => ({ kind: "scope-unknown", at: fn.bdf, cite: CITE.dmar }),
};

function rangeScope(table: ScopeTable, find: (fn: PciFunction) => number): IommuScope {
  return {
    table,
    coverage: (fn) => (find(fn) < 0 ? "outside" : "covered"),
    unitOf: (fn) => {
      const unit = find(fn);
      return unit < 0 ? undefined : unit;
    },
    why: (fn) => ({ kind: "outside-iommu-scope", at: fn.bdf, cite: CITE[table] }),
  };
}

function contains(
  ranges: readonly { readonly first: number; readonly last: number }[],
  rid: number,
): boolean {
  return ranges.some((r) => rid >= r.first && rid <= r.last);
}

/** Endpoints and bridges resolved once; coverage below a bridge is found by walking up. */
class DmarScope implements IommuScope {
  readonly table = "dmar";
  readonly #units: readonly DmarUnit[];
  readonly #named = new Map<PciFunction, number>();
  readonly #all = new Map<number, number>();
  readonly #ignored = new Map<number, PciFunction>();
  readonly #below = new Map<PciFunction, number | undefined>();

  constructor(fabric: Fabric, units: readonly DmarUnit[]) {
    this.#units = units;
    let culprit: PciFunction | undefined | null = null;
    const findCulprit = () => {
      if (culprit === null) culprit = fabric.functions.find(switchesOffGraphicsUnit);
      return culprit;
    };
    units.forEach((unit, index) => {
      const members = unit.scopes.flatMap(
        (scope) => resolveScope(fabric, unit.segment, scope) ?? [],
      );
      for (const fn of members) if (!this.#named.has(fn)) this.#named.set(fn, index);
      if (unit.includeAll && !this.#all.has(unit.segment)) this.#all.set(unit.segment, index);
      const reason = unit.includeAll || !areDisplays(members) ? undefined : findCulprit();
      if (reason !== undefined) this.#ignored.set(index, reason);
    });
  }

  coverage(fn: PciFunction): Coverage {
    return this.unitOf(fn) === undefined ? "outside" : "covered";
  }

  unitOf(fn: PciFunction): number | undefined {
    const unit = this.#anyUnit(fn);
    return unit === undefined || this.#ignored.has(unit) ? undefined : unit;
  }

  why(fn: PciFunction): Evidence {
    const unit = this.#anyUnit(fn);
    const reason = unit === undefined ? undefined : this.#ignored.get(unit);
    if (reason === undefined) {
      return { kind: "outside-iommu-scope", at: fn.bdf, cite: CITE.dmar };
    }
    return {
      kind: "excluded-by-driver",
      at: fn.bdf,
      quirk: "intelGraphicsUnit",
      with: reason.bdf,
      cite: "Linux VT-d, units for display devices only",
    };
  }

  #anyUnit(fn: PciFunction): number | undefined {
    const asked = fn.isVirtual && fn.physfn !== undefined ? fn.physfn : fn;
    const named = this.#named.get(asked);
    if (named !== undefined && this.#units[named]?.segment === fn.segment) return named;
    const bridge = asked.upstreamBridge;
    return (bridge === undefined ? undefined : this.#ofBridge(bridge)) ?? this.#all.get(fn.segment);
  }

  /** The unit that takes everything below `bridge` because it names it or a bridge above. */
  #ofBridge(bridge: PciFunction): number | undefined {
    const chain: PciFunction[] = [];
    let unit: number | undefined;
    let here: PciFunction | undefined = bridge;
    for (; here !== undefined; here = here.upstreamBridge) {
      if (this.#below.has(here)) {
        unit = this.#below.get(here);
        break;
      }
      chain.push(here);
      unit = this.#named.get(here);
      if (unit !== undefined) break;
    }
    for (const seen of chain) this.#below.set(seen, unit);
    return unit;
  }
}

/** Follows a path from its start bus through the secondary buses of bridges. */
export function resolveScope(
  fabric: Fabric,
  segment: number,
  scope: DeviceScope,
): PciFunction | undefined {
  if (scope.kind !== "endpoint" && scope.kind !== "sub-hierarchy") return undefined;
  let bus: number | undefined = scope.bus;
  let found: PciFunction | undefined;
  for (const hop of scope.path) {
    if (bus === undefined || hop.device > 31 || hop.fn > 7) return undefined;
    found = fabric.function(bdfFromRid(segment, (bus & 0xff) * 256 + hop.device * 8 + hop.fn));
    if (found === undefined) return undefined;
    bus = found.secondaryBus?.number ?? found.secondaryBusNumber;
  }
  return found;
}

const DISPLAY = 0x03;

/** Linux skips such a unit when certain display functions are there. */
function areDisplays(members: readonly PciFunction[]): boolean {
  if (members.length === 0) return false;
  return members.every(
    ({ ids }) => ids.classCode !== undefined && ids.classCode >>> 16 === DISPLAY,
  );
}
