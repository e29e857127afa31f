/** Whether the kernel used an IOMMU at all: what it said, else what its command line decides. */
import type { Fabric } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";
import type { Evidence } from "./evidence.js";
import type { HostFacts } from "./host-facts.js";
import type { LinuxRuleSet } from "./partition.js";
import { stoneyEvidence } from "./quirks.js";

export interface IommuActivity {
  /** Undefined when nothing says so. */
  readonly active: boolean | undefined;
  /** Why `device` has no group; meaningful when `active` is false. */
  why(device: Bdf): Evidence;
}

/** AMD-Vi that rules out host page tables and has no guest page tables serves nobody (7.2). */
const EFR_GUEST_TRANSLATION = 1n << 4n;

/** The kernel's own word first, then options, then devices that make a driver stay away. */
export function iommuActivity(
  fabric: Fabric,
  facts: HostFacts,
  rules: LinuxRuleSet,
): IommuActivity {
  const inactive = (detail: string | undefined): IommuActivity => ({
    active: false,
    why: (at) => ({
      kind: "iommu-inactive",
      at,
      ...(detail === undefined ? {} : { detail }),
      cite: "Linux kernel-parameters",
    }),
  });
  if (facts.iommuInUse === false) return inactive(switchedOffBy(fabric, facts));
  if (facts.iommuInUse === undefined) {
    const option = switchedOffBy(fabric, facts);
    if (option !== undefined) return inactive(option);
    const excluded = excludedByDriver(fabric, facts, rules);
    if (excluded !== undefined) {
      return {
        active: false,
        why: (at) => (at === excluded.at ? excluded : { ...excluded, at, with: excluded.at }),
      };
    }
  }
  return { active: facts.iommuInUse, why: (at) => inactive(undefined).why(at) };
}

/** The option that switches the host's IOMMU off; later options win over earlier ones. */
function switchedOffBy(fabric: Fabric, facts: HostFacts): string | undefined {
  const maker = makerOf(fabric, facts);
  if (maker === undefined || facts.commandLine === undefined) return undefined;
  let off: string | undefined;
  let all: string | undefined;
  for (const word of facts.commandLine.split(/\s+/)) {
    const m = /^(intel_iommu|amd_iommu|iommu)=(.*)$/.exec(word);
    if (m === null) continue;
    const values = (m[2] as string).split(",");
    if (m[1] === "iommu") {
      if (values.includes("off")) all = word;
      else if (values.includes("force")) all = undefined;
    } else if (m[1] === `${maker}_iommu`) {
      if (values.includes("off")) off = word;
      else if (values.includes("on") || values.includes("force_enable")) off = undefined;
    }
  }
  return all ?? off;
}

const INTEL = 0x8086;
const AMD = new Set([0x1022, 0x1002]);

/** Whose IOMMU driver would serve the host. */
function makerOf(fabric: Fabric, facts: HostFacts): "intel" | "amd" | undefined {
  if (facts.dmar !== undefined) return "intel";
  if (facts.ivrs !== undefined) return "amd";
  if (facts.iort !== undefined || facts.viot !== undefined) return undefined;
  for (const fn of fabric.functions) {
    if (fn.ids.classCode === undefined || fn.ids.classCode >>> 8 !== 0x0600) continue;
    if (fn.ids.vendor === INTEL) return "intel";
    if (fn.ids.vendor !== undefined && AMD.has(fn.ids.vendor)) return "amd";
  }
  return undefined;
}

function excludedByDriver(
  fabric: Fabric,
  facts: HostFacts,
  rules: LinuxRuleSet,
): Evidence | undefined {
  const forced = /(?:^|\s)amd_iommu=(?:\S*,)?force_enable/.test(facts.commandLine ?? "");
  if (!forced) {
    for (const fn of fabric.bus(0, 0)?.functions ?? []) {
      const evidence = stoneyEvidence(fn, rules);
      if (evidence !== undefined) return evidence;
    }
  }
  if (rules !== "linux-7.2") return undefined;
  const useless = facts.ivrs?.units.find(
    (unit) => unit.hostTablesDisabled === true && noGuestTables(unit.efr),
  );
  if (useless === undefined) return undefined;
  return {
    kind: "excluded-by-driver",
    at: useless.iommu,
    quirk: "amdNoTranslation",
    cite: "Linux 7.2 AMD-Vi, host page tables ruled out by IVRS",
  };
}

function noGuestTables(efr: bigint | undefined): boolean {
  return efr !== undefined && (efr & EFR_GUEST_TRANSLATION) === 0n;
}
