/**
 * Why does a host have no groups? The things to look at, in the order in which they can fail: the
 * firmware's table, the units in it, the kernel's command line, the driver, and at last what the
 * kernel itself reported.
 *
 * Each check is `good`, `bad` (this alone explains it) or `unknown` (look here: the capture does
 * not say).
 */
import type { Fabric } from "../pcie/index.js";
import type { Evidence } from "./evidence.js";
import type { HostFacts } from "./host-facts.js";
import { iommuActivity } from "./iommu-active.js";
import { iommuScope } from "./iommu-scope.js";
import type { LinuxRuleSet } from "./partition.js";

/**
 * `table`     the firmware describes an IOMMU (it does not when the option is off in its setup)
 * `units`     the table has units
 * `options`   no boot option switches the IOMMU off, and one switches it on where that is needed
 * `driver`    the kernel's driver does not rule this host out
 * `scope`     some function is behind a unit
 * `in-use`    the kernel said that it uses an IOMMU
 */
export type IommuCheckName = "table" | "units" | "options" | "driver" | "scope" | "in-use";

export interface IommuCheck {
  readonly check: IommuCheckName;
  readonly state: "good" | "bad" | "unknown";
  /** A table, an option, a count: what was found. */
  readonly detail?: string | undefined;
  readonly because?: Evidence | undefined;
  readonly cite: string;
}

/** The checks that apply, in order; a check about a table that was not captured is left out. */
export function iommuChecklist(
  fabric: Fabric,
  facts: HostFacts,
  rules: LinuxRuleSet = "linux-7.2",
): readonly IommuCheck[] {
  const checks = [checkTable(facts)];
  const units = checkUnits(facts);
  if (units !== undefined) checks.push(units);
  checks.push(...checkSwitches(fabric, facts, rules));
  const scope = checkScope(fabric, facts);
  if (scope !== undefined) checks.push(scope);
  checks.push({
    check: "in-use",
    state: facts.iommuInUse === undefined ? "unknown" : facts.iommuInUse ? "good" : "bad",
    cite: "kernel log; /sys/class/iommu",
  });
  return checks;
}

function tableName(facts: HostFacts): string | undefined {
  if (facts.dmar !== undefined) return "DMAR";
  if (facts.ivrs !== undefined) return "IVRS";
  if (facts.iort !== undefined) return "IORT";
  return facts.viot === undefined ? undefined : "VIOT";
}

/** That a capture has no table proves nothing: reading tables needs root. */
function checkTable(facts: HostFacts): IommuCheck {
  const detail = tableName(facts);
  const cite = "ACPI tables DMAR, IVRS, IORT, VIOT";
  if (detail !== undefined) return { check: "table", state: "good", detail, cite };
  if (facts.firmware === "device-tree") {
    return { check: "table", state: "unknown", detail: "iommu-map", cite: "Devicetree pci-iommu" };
  }
  return { check: "table", state: "unknown", cite };
}

function checkUnits(facts: HostFacts): IommuCheck | undefined {
  const name = tableName(facts);
  if (name === undefined) return undefined;
  const count =
    facts.dmar?.units.length ??
    facts.ivrs?.units.length ??
    facts.iort?.rootComplexes.filter((c) => c.mappings.some((m) => m.to.startsWith("smmu")))
      .length ??
    facts.viot?.iommus.length ??
    0;
  const cite = "VT-d 5.0 § 8.3; AMD I/O Virtualization 3.10 § 5.2; Arm DEN0049 § 3.1.1";
  return { check: "units", state: count > 0 ? "good" : "bad", detail: `${count}`, cite };
}

/** Options and driver: one look at what the kernel decides before it starts. */
function checkSwitches(fabric: Fabric, facts: HostFacts, rules: LinuxRuleSet): IommuCheck[] {
  const cite = "Linux kernel-parameters: intel_iommu, amd_iommu, iommu";
  const at = fabric.functions[0]?.bdf;
  const before = iommuActivity(fabric, { ...facts, iommuInUse: undefined }, rules);
  const because = before.active === false && at !== undefined ? before.why(at) : undefined;
  const out: IommuCheck[] = [];
  if (because?.kind === "iommu-inactive") {
    out.push({ check: "options", state: "bad", detail: because.detail, because, cite });
  } else out.push(checkOptions(facts, cite));
  if (because?.kind === "excluded-by-driver") {
    out.push({ check: "driver", state: "bad", because, cite: because.cite });
  }
  return out;
}

/**
 * Whether VT-d is on without an option is a matter of the kernel's configuration; AMD-Vi and SMMU
 * are on.
 */
function checkOptions(facts: HostFacts, cite: string): IommuCheck {
  const { commandLine } = facts;
  const on = (commandLine ?? "").split(/\s+/).find((w) => /^intel_iommu=(?:\S*,)?on\b/.test(w));
  if (on !== undefined) return { check: "options", state: "good", detail: on, cite };
  const needsNone =
    facts.ivrs !== undefined || facts.iort !== undefined || facts.viot !== undefined;
  if (commandLine !== undefined && needsNone) return { check: "options", state: "good", cite };
  return { check: "options", state: "unknown", detail: "intel_iommu=on", cite };
}

function checkScope(fabric: Fabric, facts: HostFacts): IommuCheck | undefined {
  const scope = iommuScope(fabric, facts);
  if (scope.table === undefined) return undefined;
  const total = fabric.functions.length;
  const covered = fabric.functions.filter((fn) => scope.coverage(fn) === "covered").length;
  const cite = "VT-d 5.0 § 8.3.1; AMD I/O Virtualization 3.10 § 5.2.2; Arm DEN0049 § 3.1.1.5";
  const detail = `${covered} of ${total} functions`;
  return { check: "scope", state: covered > 0 || total === 0 ? "good" : "bad", detail, cite };
}
