/**
 * Memory that firmware keeps for a device: RMRR structures of the DMAR table (VT-d 5.0 § 8.4) and
 * memory blocks of the IVRS (AMD I/O Virtualization 3.10 § 5.2.3).
 *
 * The kernel must keep such memory mapped one to one, so it refuses to put the device into anybody
 * else's address space. USB and display functions are let go on Intel hosts: firmware is done with
 * the memory once their driver has started. For AMD blocks there is no such exception, and
 * linux-6.1 does not look at them. An exclusion range is mapped like a unity range.
 *
 * A structure that names a bridge holds for all below it. Nothing is said of VFs: they come after
 * firmware.
 */
import type { Fabric, PciFunction } from "../pcie/index.js";
import type { Evidence } from "./evidence.js";
import type { HostFacts, IvmdRegion, RmrrRegion } from "./host-facts.js";
import { resolveScope } from "./iommu-scope.js";
import type { Reserved, ReservedRegion } from "./report-types.js";
import type { UseRules } from "./rules/device-centric.js";

const CITE_RMRR = "VT-d 5.0 § 8.4; Linux device_rmrr_is_relaxable()";
const CITE_IVMD = "AMD I/O Virtualization 3.10 § 5.2.3";
const DISPLAY = 0x03;
const USB = 0x0c03;

const NOT_KNOWN: Reserved = { regions: [], refused: null, because: [] };
const NONE: Reserved = { regions: [], refused: false, because: [] };
const NO_REGIONS: readonly RmrrRegion[] = [];

/** Answers for the functions of one host; tables are resolved once. */
export class ReservedMemory {
  readonly #rmrr = new Map<PciFunction, RmrrRegion[]>();
  readonly #ivmd: readonly IvmdRegion[];
  readonly #known: boolean;
  readonly #honoursIvmd: boolean;
  readonly #above = new Map<PciFunction, readonly RmrrRegion[]>();

  constructor(fabric: Fabric, facts: HostFacts, rules: UseRules) {
    this.#known = facts.dmar !== undefined || facts.ivrs !== undefined;
    this.#ivmd = facts.ivrs?.memory ?? [];
    this.#honoursIvmd = rules.keepsIvrsMemory;
    for (const region of facts.dmar?.reserved ?? []) {
      for (const scope of region.scopes) {
        const fn = resolveScope(fabric, region.segment, scope);
        if (fn === undefined) continue;
        const list = this.#rmrr.get(fn);
        if (list === undefined) this.#rmrr.set(fn, [region]);
        else if (!list.includes(region)) list.push(region);
      }
    }
  }

  of(fn: PciFunction): Reserved {
    if (!this.#known) return NOT_KNOWN;
    if (fn.isVirtual) return NONE;
    const regions = [...this.#rmrrRegions(fn), ...this.#ivmdRegions(fn)];
    if (regions.length === 0) return NONE;
    const locked = regions.filter((r) => !r.relaxable && this.#counts(r));
    const rest = regions.filter((r) => !locked.includes(r));
    const because: Evidence[] = [];
    if (locked.length > 0) because.push(evidence(fn, "reserved-by-firmware", locked));
    if (rest.length > 0) because.push(evidence(fn, "reserved-relaxable", rest));
    return { regions, refused: locked.length > 0, because };
  }

  #counts(region: ReservedRegion): boolean {
    return region.kind === "rmrr" || this.#honoursIvmd;
  }

  #rmrrRegions(fn: PciFunction): ReservedRegion[] {
    if (this.#rmrr.size === 0) return [];
    const relaxable = isRelaxable(fn);
    const own = this.#rmrr.get(fn) ?? NO_REGIONS;
    const bridge = fn.upstreamBridge;
    const all = bridge === undefined ? own : [...own, ...this.#regionsOver(bridge)];
    return [...new Set(all)].map(({ span }) => ({
      span,
      kind: "rmrr",
      relaxable,
      cite: CITE_RMRR,
    }));
  }

  /** Regions of a bridge and of every bridge above it. */
  #regionsOver(bridge: PciFunction): readonly RmrrRegion[] {
    const chain: PciFunction[] = [];
    let at: PciFunction | undefined = bridge;
    while (at !== undefined && !this.#above.has(at)) {
      chain.push(at);
      at = at.upstreamBridge;
    }
    let regions = at === undefined ? NO_REGIONS : (this.#above.get(at) ?? NO_REGIONS);
    for (let i = chain.length - 1; i >= 0; i--) {
      const here = chain[i] as PciFunction;
      const own = this.#rmrr.get(here);
      if (own !== undefined) regions = [...own, ...regions];
      this.#above.set(here, regions);
    }
    return regions;
  }

  #ivmdRegions(fn: PciFunction): ReservedRegion[] {
    const out: ReservedRegion[] = [];
    for (const region of this.#ivmd) {
      if (!region.unity && !region.exclusion) continue;
      if (region.kind !== "all" && region.segment !== fn.segment) continue;
      const inside = region.first <= fn.rid && fn.rid <= region.last;
      const hit =
        region.kind === "all" || (region.kind === "one" ? region.first === fn.rid : inside);
      if (!hit) continue;
      const kind = region.unity ? "unity-map" : "exclusion";
      out.push({ span: region.span, kind, relaxable: false, cite: CITE_IVMD });
    }
    return out;
  }
}

/** USB controllers and display functions; an unknown class is taken as neither. */
function isRelaxable(fn: PciFunction): boolean {
  const { classCode } = fn.ids;
  if (classCode === undefined) return false;
  return classCode >>> 16 === DISPLAY || classCode >>> 8 === USB;
}

function evidence(
  fn: PciFunction,
  kind: "reserved-by-firmware" | "reserved-relaxable",
  regions: readonly ReservedRegion[],
): Evidence {
  return {
    kind,
    at: fn.bdf,
    windows: regions.map((r) => r.span),
    detail: [...new Set(regions.map((r) => r.kind))].join(", "),
    cite: [...new Set(regions.map((r) => r.cite))].join("; "),
  };
}
