/**
 * Viability: can a group be given to a user as it stands?
 *
 * The kernel hands a group over when none of its functions is bound to a driver that uses the
 * kernel's DMA interface. Drivers that promise not to are marked: the VFIO family, pci-stub, and
 * pcieport for bridges
 * (Linux `driver_managed_dma`; iommu_group_claim_dma_owner()). A function without a driver does no
 * DMA. Any other driver blocks the whole group. So does memory that firmware reserves for a member:
 * it cannot be put behind an empty address space first (see reserved.ts).
 */
import type { Fabric, PciFunction } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";
import { Conditions } from "./conditions.js";
import type { Evidence } from "./evidence.js";
import type { Partition } from "./partition.js";
import type { Reserved, Viability } from "./report-types.js";

const CITE = "Linux iommu_group_claim_dma_owner()";
const MANAGED: ReadonlySet<string> = new Set(["pci-stub", "pcieport"]);

/**
 * The driver leaves the device's DMA to whoever owns it: VFIO drivers carry the word in their name.
 */
export function leavesDmaAlone(driver: string): boolean {
  return MANAGED.has(driver) || /(?:^|[-_])vfio(?:[-_]|$)/.test(driver);
}

/** Answers by group; each group is looked at once. */
export class Viabilities {
  readonly #fabric: Fabric;
  readonly #partition: Partition;
  readonly #reserved: (fn: PciFunction) => Reserved;
  readonly #byGroup = new Map<number, Viability>();

  constructor(fabric: Fabric, partition: Partition, reserved: (fn: PciFunction) => Reserved) {
    this.#fabric = fabric;
    this.#partition = partition;
    this.#reserved = reserved;
  }

  /** `why`: evidence for a function without a group, which nobody can be given. */
  of(device: Bdf, why: readonly Evidence[]): Viability {
    const group = this.#partition.groupOf.get(device);
    if (group === undefined) return { ok: false, blockedBy: [], because: why };
    let answer = this.#byGroup.get(group);
    if (answer === undefined) {
      answer = this.#judge(this.#partition.groups[group] ?? []);
      this.#byGroup.set(group, answer);
    }
    return answer;
  }

  #judge(members: readonly Bdf[]): Viability {
    const out = new Conditions();
    const blockedBy: { device: Bdf; driver: string }[] = [];
    for (const member of members) {
      const fn = this.#fabric.function(member);
      if (fn === undefined) continue;
      const { driver } = fn.description;
      if (driver === undefined) {
        out.unknown.push({ kind: "driver-unknown", at: member, cite: CITE });
      } else if (driver !== null && !leavesDmaAlone(driver)) {
        blockedBy.push({ device: member, driver });
        out.failed.push({ kind: "driver-blocks", at: member, detail: driver, cite: CITE });
      }
      const reserved = this.#reserved(fn);
      if (reserved.refused === true) out.failed.push(...reserved.because);
    }
    const first = members[0];
    if (first !== undefined) {
      out.holding.push({ kind: "no-driver-blocks", at: first, cite: CITE });
    }
    const { ok, because } = out.result();
    return { ok, blockedBy, because };
  }
}
