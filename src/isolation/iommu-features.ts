/**
 * What the IOMMU unit in front of a function can do, as far as tables and logs show it.
 *
 * Intel: ECAP register (VT-d 5.0 § 11.4.3): DT bit 2, PRS bit 29, PSS bits 39:35, PASID bit 40,
 * SMTS bit 43, FSTS bit 47; ATSR structures name the root ports that take part in ATS (§ 8.5). AMD:
 * extended feature register (I/O Virtualization 3.10 § 3.4.3): PPRSup bit 1, GTSup bit 4, PASmax
 * bits 36:32. Arm: root complex node of the IORT (DEN0049 § 3.1.1.5): ATS attribute, PASID width;
 * an SMMU of version 1 or 2 has neither PASID nor ATS nor page requests. virtio-iommu (VIRTIO 1.3 §
 * 5.13) has none of them.
 */
import { type Fabric, type PciFunction, PortType } from "../pcie/index.js";
import type { DmarTable, DmarUnit, HostFacts, IvrsUnit } from "./host-facts.js";
import { type IommuScope, resolveScope } from "./iommu-scope.js";
import { NearestAbove } from "./nearest-above.js";

export type IommuFeature = "PASID" | "ATS" | "PRI" | "SVA";

/** One answer: undefined = not known. `detail` names the unit and the field. */
export interface FeatureAnswer {
  readonly has: boolean | undefined;
  readonly detail: string;
  readonly cite: string;
  /** Other units of the host that answer no although this one answers yes. */
  readonly differs?: string | undefined;
}

const VTD = "VT-d 5.0 § 11.4.3";
const AMD = "AMD I/O Virtualization 3.10 § 3.4.3";
const IORT = "Arm IORT DEN0049 § 3.1.1.5";
const VIRTIO = "VIRTIO 1.3 § 5.13";

/** Bits of ECAP that must all be set. */
const ECAP_BITS: Readonly<Record<IommuFeature, readonly { bit: bigint; name: string }[]>> = {
  ATS: [{ bit: 2n, name: "DT" }],
  PRI: [{ bit: 29n, name: "PRS" }],
  PASID: [
    { bit: 40n, name: "PASID" },
    { bit: 43n, name: "SMTS" },
  ],
  SVA: [
    { bit: 40n, name: "PASID" },
    { bit: 43n, name: "SMTS" },
    { bit: 47n, name: "FSTS" },
  ],
};

const EFR_BITS: Readonly<Record<IommuFeature, { bit: bigint; name: string } | undefined>> = {
  ATS: undefined,
  PRI: { bit: 1n, name: "PPRSup" },
  PASID: { bit: 4n, name: "GTSup" },
  SVA: { bit: 4n, name: "GTSup" },
};

/** Features of the units of one host; each unit is looked at once. */
export class IommuFeatures {
  readonly #facts: HostFacts;
  readonly #fabric: Fabric;
  readonly #scope: IommuScope;
  /** By unit number, -1 for none: the answer is the same for all behind one unit. */
  readonly #answers = new Map<IommuFeature, Map<number, FeatureAnswer>>();
  #atsPorts: NearestAbove<true> | undefined;

  constructor(fabric: Fabric, facts: HostFacts, scope: IommuScope) {
    this.#facts = facts;
    this.#fabric = fabric;
    this.#scope = scope;
  }

  /** `fn`: the function whose requests reach the unit (a VMD instead of its child). */
  feature(fn: PciFunction, feature: IommuFeature): FeatureAnswer {
    const unit = this.#scope.unitOf(fn) ?? -1;
    const known = this.#answers.get(feature) ?? new Map<number, FeatureAnswer>();
    this.#answers.set(feature, known);
    let answer = known.get(unit);
    if (answer === undefined) {
      answer = this.#ask(unit, feature);
      known.set(unit, answer);
    }
    return answer;
  }

  #ask(unit: number, feature: IommuFeature): FeatureAnswer {
    const { dmar, ivrs, commandLine } = this.#facts;
    switch (this.#scope.table) {
      case "dmar":
        return fromDmar(dmar?.units ?? [], dmar?.units[unit], feature, commandLine);
      case "ivrs":
        return fromIvrs(ivrs?.units ?? [], ivrs?.units[unit], feature);
      case "iort":
        return this.#fromIort(unit, feature);
      case "viot":
        return { has: false, detail: "virtio-iommu", cite: VIRTIO };
      default:
        return { has: undefined, detail: "no firmware table captured", cite: VTD };
    }
  }

  /** PASID bits that the unit or root complex takes; undefined when not known. */
  pasidBits(fn: PciFunction): number | undefined {
    const unit = this.#scope.unitOf(fn);
    if (unit === undefined) return undefined;
    const { dmar, ivrs, iort } = this.#facts;
    const { table } = this.#scope;
    const ecap = table === "dmar" ? dmar?.units[unit]?.ecap : undefined;
    if (ecap !== undefined) return Number((ecap >> 35n) & 0x1fn) + 1;
    const efr = table === "ivrs" ? ivrs?.units[unit]?.efr : undefined;
    if (efr !== undefined) return Number((efr >> 32n) & 0x1fn) + 1;
    const bits = table === "iort" ? iort?.rootComplexes[unit]?.pasidBits : undefined;
    return bits === undefined || bits === 0 ? undefined : bits;
  }

  /**
   * Whether the DMAR table lets the root port above take part in ATS: listed, or all ports of the
   * segment are. Functions integrated in the root complex need no entry. Undefined without the
   * table.
   */
  rootPortListed(fn: PciFunction): boolean | undefined {
    const dmar = this.#facts.dmar;
    if (dmar === undefined) return undefined;
    const subject = fn.physfn ?? fn;
    if (subject.upstreamBridge === undefined) return true;
    if (dmar.ats.some((a) => a.allPorts && a.segment === subject.segment)) return true;
    this.#atsPorts ??= listedPorts(this.#fabric, dmar);
    return this.#atsPorts.of(subject) === true;
  }

  #fromIort(unit: number, feature: IommuFeature): FeatureAnswer {
    const complex = this.#facts.iort?.rootComplexes[unit];
    if (complex === undefined) return { has: undefined, detail: "no IORT mapping", cite: IORT };
    const detail = `IORT root complex of segment ${complex.segment.toString(16)}`;
    if (complex.mappings.some((m) => m.to === "smmu")) {
      return { has: false, detail: `${detail}: SMMU before version 3`, cite: IORT };
    }
    if (feature === "ATS" || feature === "PRI") {
      const has = complex.ats ? (feature === "ATS" ? true : undefined) : false;
      return { has, detail: `${detail}: ATS attribute`, cite: IORT };
    }
    return { has: undefined, detail: `${detail}: SMMUv3 features`, cite: IORT };
  }
}

function listedPorts(fabric: Fabric, dmar: DmarTable): NearestAbove<true> {
  const own = new Map<PciFunction, true>();
  for (const entry of dmar.ats) {
    for (const scope of entry.scopes) {
      const port = resolveScope(fabric, entry.segment, scope);
      if (port?.portType === PortType.RootPort) own.set(port, true);
    }
  }
  return new NearestAbove(own);
}

function fromDmar(
  units: readonly DmarUnit[],
  unit: DmarUnit | undefined,
  feature: IommuFeature,
  commandLine: string | undefined,
): FeatureAnswer {
  if (unit === undefined) return { has: undefined, detail: "no DMAR unit covers it", cite: VTD };
  const name = unitName(unit);
  const scalable = feature === "PASID" || feature === "SVA";
  if (scalable && /\bintel_iommu=(?:\S*,)?sm_off\b/.test(commandLine ?? "")) {
    return {
      has: false,
      detail: "intel_iommu=sm_off",
      cite: "Linux kernel-parameters: intel_iommu",
    };
  }
  const missing = missingBits(unit, feature);
  if (missing === undefined) return { has: undefined, detail: name, cite: VTD };
  if (missing.length > 0) {
    return { has: false, detail: `${name}: ECAP ${missing.join(", ")}`, cite: VTD };
  }
  const bits = ECAP_BITS[feature].map((b) => b.name).join(", ");
  const detail = `${name}: ECAP ${bits}`;
  const others = units.filter((u) => (missingBits(u, feature)?.length ?? 0) > 0);
  if (others.length === 0) return { has: true, detail, cite: VTD };
  return { has: true, detail, cite: VTD, differs: others.map(unitName).join(", ") };
}

function missingBits(unit: DmarUnit, feature: IommuFeature): string[] | undefined {
  const { ecap } = unit;
  if (ecap === undefined) return undefined;
  return ECAP_BITS[feature].filter((b) => ((ecap >> b.bit) & 1n) === 0n).map((b) => b.name);
}

function unitName(unit: DmarUnit): string {
  return `DMAR unit 0x${unit.registerBase.toString(16)}`;
}

function fromIvrs(
  units: readonly IvrsUnit[],
  unit: IvrsUnit | undefined,
  feature: IommuFeature,
): FeatureAnswer {
  if (unit === undefined) return { has: undefined, detail: "no IVRS unit covers it", cite: AMD };
  const name = `AMD-Vi 0x${unit.base.toString(16)}`;
  const want = EFR_BITS[feature];
  const { efr } = unit;
  if (want === undefined || efr === undefined) return { has: undefined, detail: name, cite: AMD };
  const has = ((efr >> want.bit) & 1n) !== 0n;
  const detail = `${name}: EFR ${want.name}`;
  const others = units.filter((u) => u.efr !== undefined && ((u.efr >> want.bit) & 1n) === 0n);
  if (!has || others.length === 0) return { has, detail, cite: AMD };
  const differs = others.map((u) => `AMD-Vi 0x${u.base.toString(16)}`).join(", ");
  return { has, detail, cite: AMD, differs };
}
