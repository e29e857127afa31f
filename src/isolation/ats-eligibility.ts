/**
 * May the function use Address Translation Services, page requests, and shared virtual addressing?
 *
 * ATS (Linux pci_ats_supported(); PCIe 6 § 10.2): the capability; no quirk, option or distrust that
 * switches it off; under linux-6.12 a VF's physical function too; no conventional bus on the way;
 * on Intel a root port that the firmware's ATSR structures list. A port above with Translation
 * Blocking on turns translated requests into errors (§ 6.12.1.1): a failed condition under
 * device-centric rules, a note under Linux's, which do not look at it.
 *
 * PRI (PCIe 6 § 10.4, § 10.5.2): the capability, of the PF for a VF; ATS; the interface stopped,
 * unless it is on.
 *
 * SVA: a process' page table used by the device needs PASIDs to name the process, translation
 * requests and page requests so that pages may come and go (PCIe 6 § 10.1.1, § 10.4), and a unit
 * that walks first-stage tables per PASID (VT-d 5.0 § 3.4: PASID, SMTS and FSTS; AMD 3.10 § 2.2.6:
 * GTSup). Device-specific fault handling in place of PRI is not known to a capture, so its lack
 * counts as a failed condition. Here the unit is part of the question: when it is not known,
 * neither is the answer.
 */
import { Acs, type PciFunction } from "../pcie/index.js";
import { Conditions } from "./conditions.js";
import {
  addCapability,
  addConventionalPath,
  addCoverage,
  addIommuFeature,
  bridgesAbove,
  type EligibilityContext,
} from "./eligibility-context.js";
import type { Evidence } from "./evidence.js";
import type { Eligibility } from "./report-types.js";

const CITE_ATS = "PCIe 6 § 10.5.1";
const CITE_PRI = "PCIe 6 § 10.5.2";
const CITE_TB = "PCIe 6 § 6.12.1.1";
const CITE_LINUX_ATS = "Linux pci_ats_supported()";
const CITE_ATSR = "VT-d 5.0 § 8.5";
const CITE_SVA = "PCIe 6 § 10.1.1";

/** ATS for one function; the conditions are at the head of this file. */
export function atsEligibility(fn: PciFunction, context: EligibilityContext): Eligibility {
  const out = new Conditions();
  const bridges = bridgesAbove(fn);
  addCoverage(out, fn, context);
  addCapability(out, fn, "ATS", fn.ats, CITE_ATS);
  addSwitchedOff(out, fn, context);
  if (fn.isVirtual && context.rules.vfAtsNeedsPf) addPhysicalFunction(out, fn, context);
  addConventionalPath(out, fn, bridges, "ATS");
  addTranslationBlocking(out, bridges, context);
  if (context.iommu.rootPortListed(context.sender(fn)) === false) {
    out.failed.push({ kind: "root-port-not-listed", at: fn.bdf, cite: CITE_ATSR });
  }
  addIommuFeature(out, fn, "ATS", context, false);
  return out.result();
}

function addSwitchedOff(out: Conditions, fn: PciFunction, context: EligibilityContext): void {
  const quirk = context.atsOff(fn);
  // A row that may or may not match is no reason yet.
  if (quirk?.kind === "quirk-not-tested") out.unknown.push(quirk);
  else if (quirk !== undefined) out.failed.push(quirk);
  if (hasPciOption(context.facts.commandLine, "noats")) {
    out.failed.push(switchedOff(fn, "pci=noats"));
  }
  if (context.untrusted(fn) === true) out.failed.push(switchedOff(fn, "untrusted"));
}

function switchedOff(fn: PciFunction, detail: string): Evidence {
  return { kind: "ats-switched-off", at: fn.bdf, capability: "ATS", detail, cite: CITE_LINUX_ATS };
}

/** `pci=` takes a list with commas and may occur several times. */
export function hasPciOption(commandLine: string | undefined, option: string): boolean {
  for (const word of (commandLine ?? "").split(/\s+/)) {
    if (word.startsWith("pci=") && word.slice(4).split(",").includes(option)) return true;
  }
  return false;
}

function addPhysicalFunction(out: Conditions, fn: PciFunction, context: EligibilityContext): void {
  const pf = fn.physfn;
  const follows: Evidence = {
    kind: "follows-physical-function",
    at: fn.bdf,
    with: pf?.bdf,
    capability: "ATS",
    cite: "Linux 6.12 pci_ats_supported()",
  };
  if (pf === undefined) {
    out.unknown.push(follows);
    return;
  }
  const own = new Conditions();
  addCapability(own, pf, "ATS", pf.ats, CITE_ATS);
  addSwitchedOff(own, pf, context);
  if (own.failed.length + own.unknown.length === 0) return;
  out.notes.push(follows);
  out.failed.push(...own.failed);
  out.unknown.push(...own.unknown);
}

function addTranslationBlocking(
  out: Conditions,
  bridges: readonly PciFunction[],
  context: EligibilityContext,
): void {
  for (const bridge of bridges) {
    const control = bridge.acs?.control;
    if (!bridge.isDownstreamFacing || control === undefined || (control & Acs.TB) === 0) continue;
    const blocked: Evidence = {
      kind: "translation-blocked",
      at: bridge.bdf,
      bits: ["TB"],
      cite: CITE_TB,
    };
    if (context.rules.mindsBlockingPorts) out.failed.push(blocked);
    else out.notes.push(blocked);
  }
}

/** `ats`: the answer for the same function. */
export function priEligibility(
  fn: PciFunction,
  ats: Eligibility,
  context: EligibilityContext,
): Eligibility {
  const out = new Conditions();
  const subject = fn.isVirtual ? fn.physfn : fn;
  if (fn.isVirtual) {
    const follows: Evidence = {
      kind: "follows-physical-function",
      at: fn.bdf,
      with: subject?.bdf,
      capability: "PRI",
      cite: CITE_PRI,
    };
    if (subject === undefined) out.unknown.push(follows);
    else out.notes.push(follows);
  }
  addCoverage(out, fn, context);
  if (subject !== undefined) {
    addCapability(out, subject, "PRI", subject.pri, CITE_PRI);
    const { pri } = subject;
    if (pri?.enabled === false && pri.stopped === false) {
      out.failed.push({ kind: "page-requests-not-stopped", at: subject.bdf, cite: CITE_PRI });
    }
  }
  addNeed(out, fn, "ATS", ats, "page-requests-need-ats", CITE_PRI);
  addIommuFeature(out, fn, "PRI", context, false);
  return out.result();
}

/** What SVA rests on: the answers for the same function. */
export interface SvaParts {
  readonly pasid: Eligibility;
  readonly ats: Eligibility;
  readonly pri: Eligibility;
}

/** Shared virtual addressing, from the answers for its parts about the same function. */
export function svaEligibility(
  fn: PciFunction,
  parts: SvaParts,
  context: EligibilityContext,
): Eligibility {
  const out = new Conditions();
  addCoverage(out, fn, context);
  addNeed(out, fn, "PASID", parts.pasid, "sva-needs", CITE_SVA);
  addNeed(out, fn, "ATS", parts.ats, "sva-needs", CITE_SVA);
  addNeed(out, fn, "PRI", parts.pri, "sva-needs", CITE_SVA);
  addIommuFeature(out, fn, "SVA", context, true);
  for (const part of [parts.pasid, parts.ats, parts.pri]) {
    if (part.ok !== true) addOnce(out.notes, part.because, out.failed);
  }
  return out.result(parts.pasid.width);
}

/** What stands in the way of the parts, told once each. */
function addOnce(list: Evidence[], more: readonly Evidence[], already: readonly Evidence[]): void {
  const same = (a: Evidence) => (b: Evidence) =>
    a.kind === b.kind && a.at === b.at && a.capability === b.capability && a.detail === b.detail;
  for (const e of more) if (!list.some(same(e)) && !already.some(same(e))) list.push(e);
}

/** A part that the answer rests on; what fails in it is told with the part itself. */
function addNeed(
  out: Conditions,
  fn: PciFunction,
  capability: "PASID" | "ATS" | "PRI",
  part: Eligibility,
  kind: "sva-needs" | "page-requests-need-ats",
  cite: string,
): void {
  if (part.ok === true) {
    out.holding.push({ kind: "capability-present", at: fn.bdf, capability, cite });
  } else if (part.ok === false) out.failed.push({ kind, at: fn.bdf, capability, cite });
  else out.unknown.push({ kind: "capability-unknown", at: fn.bdf, capability, cite });
}
