/**
 * What the IOMMU drivers print at boot: units, registers, reserved ranges, and whether they work.
 */
import type { SeenIommu } from "../../isolation/index.js";
import { parseBdf, type Span } from "../../units/index.js";

const DRHD = /DRHD base: 0x([0-9a-f]{1,16}) flags: 0x([0-9a-f]+)/i;
const DMAR_UNIT =
  /\b(dmar\d+): reg_base_addr ([0-9a-f]{1,16}) ver \S+ cap ([0-9a-f]{1,16}) ecap ([0-9a-f]{1,16})/i;
const OLD_DMAR_UNIT =
  /IOMMU (\d+): reg_base_addr ([0-9a-f]{1,16}) ver \S+ cap ([0-9a-f]{1,16}) ecap ([0-9a-f]{1,16})/i;
const RMRR = /RMRR base: 0x([0-9a-f]{1,16}) end: 0x([0-9a-f]{1,16})/i;
const AMD_FOUND =
  /AMD-Vi: Found IOMMU(?: at)? ?(?:([0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]) )?cap/i;
const AMD_PREFIX = /pci ([0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]): AMD-Vi:/i;
const AMD_FEATURES = /Extended features \(0x([0-9a-f]{1,16})(?:, 0x([0-9a-f]{1,16}))?\)/i;
const AMD_GLOBAL = /AMD-Vi: Using global IVHD EFR:0x([0-9a-f]{1,16}), EFR2:0x([0-9a-f]{1,16})/i;
const SMMU = /arm-smmu(-v3)? (\S+?): (?:ias |option mask|probing|\t?\S+ translation|registered)/;
const VIRTIO = /virtio_iommu (virtio\d+): (?:input address|page mask|IPA)/;
const RISCV = /riscv-iommu\S* (\S+): /;

type Draft = { -readonly [K in keyof SeenIommu]: SeenIommu[K] };

export class LogIommus {
  readonly reserved: Span[] = [];
  inUse: boolean | undefined;
  readonly #vtd = new Map<bigint, Draft>();
  readonly #amd = new Map<string, Draft>();
  readonly #others = new Map<string, Draft>();
  #lastAmd: Draft | undefined;

  get units(): SeenIommu[] {
    return [...this.#vtd.values(), ...this.#amd.values(), ...this.#others.values()];
  }

  /** True when the line said something. */
  line(line: string): boolean {
    if (line.includes("DMAR") || line.includes("dmar")) return this.#intel(line);
    if (line.includes("AMD-Vi")) return this.#amdLine(line);
    if (line.includes("Virtualization Technology for Directed I/O")) return this.#use(true);
    if (line.includes("smmu")) return this.#other(SMMU.exec(line), "smmu");
    if (line.includes("virtio_iommu")) return this.#other(VIRTIO.exec(line), "virtio");
    if (line.includes("riscv-iommu")) return this.#other(RISCV.exec(line), "riscv");
    return false;
  }

  #use(value: boolean): true {
    if (this.inUse !== true) this.inUse = value;
    return true;
  }

  #intel(line: string): boolean {
    if (line.includes("Virtualization Technology for Directed I/O")) return this.#use(true);
    if (/IOMMU disabled|Disable (?:dmar|IOMMU)|DMAR: No DMAR devices found/i.test(line))
      return this.#use(false);
    const drhd = DRHD.exec(line);
    if (drhd !== null) {
      const unit = this.#vtdUnit(BigInt(`0x${drhd[1]}`));
      unit.includeAll = (Number.parseInt(drhd[2] ?? "", 16) & 1) !== 0;
      return true;
    }
    const named = DMAR_UNIT.exec(line) ?? OLD_DMAR_UNIT.exec(line);
    if (named !== null) {
      const [, name = "", base, cap, ecap] = named;
      const unit = this.#vtdUnit(BigInt(`0x${base}`));
      unit.name = name.startsWith("dmar") ? name : `dmar${name}`;
      unit.cap = BigInt(`0x${cap}`);
      unit.ecap = BigInt(`0x${ecap}`);
      return true;
    }
    const rmrr = RMRR.exec(line);
    if (rmrr === null) return line.includes("IOMMU enabled");
    const span = { first: BigInt(`0x${rmrr[1]}`), last: BigInt(`0x${rmrr[2]}`) };
    if (span.first <= span.last) this.reserved.push(span);
    return true;
  }

  #vtdUnit(registerBase: bigint): Draft {
    let unit = this.#vtd.get(registerBase);
    if (unit === undefined) {
      unit = { kind: "vt-d", registerBase };
      this.#vtd.set(registerBase, unit);
    }
    return unit;
  }

  #amdLine(line: string): boolean {
    if (/AMD-Vi: (?:Disabling|AMD IOMMU(?:v2)? disabled|IOMMU not)/i.test(line))
      return this.#use(false);
    if (/AMD-Vi: (?:Initialized for Passthrough Mode|Lazy IO\/TLB|Virtual APIC enabled)/.test(line))
      return this.#use(true);
    const prefix = AMD_PREFIX.exec(line)?.[1];
    const found = AMD_FOUND.exec(line);
    if (found !== null) {
      this.#lastAmd = this.#amdUnit(prefix ?? found[1]);
      return this.#use(true);
    }
    const features = AMD_FEATURES.exec(line);
    if (features !== null) {
      const unit = prefix === undefined ? this.#lastAmd : this.#amdUnit(prefix);
      if (unit === undefined) this.#allAmd(features[1], features[2]);
      else setFeatures(unit, features[1], features[2]);
      return this.#use(true);
    }
    const all = AMD_GLOBAL.exec(line);
    if (all !== null) this.#allAmd(all[1], all[2]);
    return all !== null;
  }

  /** Newer kernels print the features once, for all units. */
  #allAmd(efr: string | undefined, efr2: string | undefined): void {
    if (this.#amd.size === 0) this.#amdUnit(undefined);
    for (const unit of this.#amd.values()) setFeatures(unit, efr, efr2);
  }

  #amdUnit(at: string | undefined): Draft {
    const key = at ?? "";
    let unit = this.#amd.get(key);
    if (unit === undefined) {
      const bdf = at === undefined ? undefined : parseBdf(at);
      unit = { kind: "amd-vi", ...(bdf !== undefined && { at: bdf }) };
      this.#amd.delete("");
      this.#amd.set(key, unit);
    }
    return unit;
  }

  #other(m: RegExpExecArray | null, kind: "smmu" | "virtio" | "riscv"): boolean {
    if (m === null) return false;
    const v3 = kind === "smmu" && m[1] !== undefined;
    const name = (kind === "smmu" ? m[2] : m[1]) ?? "";
    if (!this.#others.has(name)) this.#others.set(name, { kind: v3 ? "smmuv3" : kind, name });
    return this.#use(true);
  }
}

function setFeatures(unit: Draft, efr: string | undefined, efr2: string | undefined): void {
  if (efr !== undefined) unit.efr = BigInt(`0x${efr}`);
  if (efr2 !== undefined) unit.efr2 = BigInt(`0x${efr2}`);
}
