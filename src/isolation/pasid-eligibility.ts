/**
 * May the function use PASIDs, and how wide?
 *
 * Conditions (Linux pci_enable_pasid(); PCIe 6 § 6.20, § 7.8.9): the PASID capability; end-end TLP
 * prefix support of the function and, unless it is a root port or integrated in the root complex,
 * of every bridge above; from linux-6.12 on P2P Request Redirect and Upstream Forwarding on the
 * function and every bridge above, because a switch routes a request by its address whatever prefix
 * it carries. A virtual function has no PASID of its own: its physical function decides.
 * Device-centric rules take the same conditions as the default; that an owner may accept the path
 * as it is, is policy and not eligibility. They also mind ports that block prefixes on their way
 * up, which Linux does not look at.
 *
 * What the IOMMU can do counts when it is known. When it is not, the answer is that of device and
 * path, and a note says so.
 */
import { type AcsBit, acsBitNames, type PciFunction, PortType } from "../pcie/index.js";
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

const CITE_CAPABILITY = "PCIe 6 § 7.8.9";
const CITE_PREFIX = "PCIe 6 § 2.2.10.4";
const CITE_ACS_PATH = "Linux pci_enable_pasid(): pci_acs_path_enabled()";
const CITE_VF = "PCIe 6 § 9.3.7.14";

/** PASID for one function; the conditions are at the head of this file. */
export function pasidEligibility(fn: PciFunction, context: EligibilityContext): Eligibility {
  const out = new Conditions();
  const subject = subjectOf(fn, out);
  if (subject === undefined) return out.result();
  const bridges = bridgesAbove(subject);
  addCoverage(out, fn, context);
  addCapability(out, subject, "PASID", subject.pasid, CITE_CAPABILITY);
  addConventionalPath(out, subject, bridges, "PASID");
  addPrefixPath(out, subject, bridges, context);
  if (context.rules.pasidPath !== 0) addAcsPath(out, subject, bridges, context);
  addIommuFeature(out, subject, "PASID", context, false);
  return out.result(widthOf(subject, context));
}

/** The function that has the capability: the PF for a VF. */
function subjectOf(fn: PciFunction, out: Conditions): PciFunction | undefined {
  if (!fn.isVirtual) return fn;
  const pf = fn.physfn;
  const note: Evidence = {
    kind: "follows-physical-function",
    at: fn.bdf,
    with: pf?.bdf,
    capability: "PASID",
    cite: CITE_VF,
  };
  if (pf === undefined) out.unknown.push(note);
  else out.notes.push(note);
  return pf;
}

function widthOf(fn: PciFunction, context: EligibilityContext): number | undefined {
  const width = fn.pasid?.width;
  const limit = context.iommu.pasidBits(context.sender(fn));
  if (width === undefined || limit === undefined) return width;
  return Math.min(width, limit);
}

function addPrefixPath(
  out: Conditions,
  fn: PciFunction,
  bridges: readonly PciFunction[],
  context: EligibilityContext,
): void {
  const excused = context.pasidWithoutPrefix(fn);
  if (excused !== undefined) {
    out.holding.push(excused);
    return;
  }
  addPrefix(out, fn);
  const own = fn.portType === PortType.RootPort || fn.portType === PortType.RcIntegratedEndpoint;
  if (own) return;
  for (const bridge of bridges) {
    addPrefix(out, bridge);
    if (bridge.portType !== PortType.UpstreamPort) continue;
    if (bridge.express?.endEndPrefixBlocking !== true) continue;
    const blocked: Evidence = { kind: "prefix-blocked", at: bridge.bdf, cite: CITE_PREFIX };
    if (context.rules.mindsBlockingPorts) out.failed.push(blocked);
    else out.notes.push(blocked);
  }
}

/** A function without PCI Express, and a bridge to conventional PCI, is reported as that alone. */
function addPrefix(out: Conditions, fn: PciFunction): void {
  if (fn.isPcie === false || fn.portType === PortType.PcieToPciBridge) return;
  const has = fn.express?.endEndPrefix;
  if (has === true) return;
  const kind = has === undefined ? "prefix-support-unknown" : "prefix-not-supported";
  out.add(has, { kind, at: fn.bdf, capability: "PASID", cite: CITE_PREFIX });
}

function addAcsPath(
  out: Conditions,
  fn: PciFunction,
  bridges: readonly PciFunction[],
  context: EligibilityContext,
): void {
  const request = context.rules.pasidPath;
  const asked = acsBitNames(request);
  for (const at of [fn, ...bridges]) {
    const verdict = context.isolatedAgainst(at, request);
    if (verdict.isolated === true) continue;
    if (verdict.isolated === undefined) {
      out.unknown.push({
        kind: "acs-unknown",
        at: at.bdf,
        bits: asked,
        capability: "PASID",
        cite: CITE_ACS_PATH,
      });
      continue;
    }
    out.failed.push({
      kind: "path-acs-off",
      at: at.bdf,
      bits: missingBits(asked, verdict.because),
      quirk: verdict.because.find((e) => e.quirk !== undefined)?.quirk,
      capability: "PASID",
      detail: verdict.because[0]?.kind,
      cite: CITE_ACS_PATH,
    });
  }
}

/** The bits that the verdict names, cut to those of the request; both when it names none. */
function missingBits(asked: readonly AcsBit[], because: readonly Evidence[]): readonly AcsBit[] {
  const named = new Set(because.flatMap((e) => e.bits ?? []));
  const missing = asked.filter((bit) => named.has(bit));
  return missing.length > 0 ? missing : asked;
}
