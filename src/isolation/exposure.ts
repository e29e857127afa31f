/** Whether a function leads outside the case, or is reached from there. */
import type { PciFunction } from "../pcie/index.js";
import type { Evidence } from "./evidence.js";
import type { HostFacts } from "./host-facts.js";
import { isUntrusted } from "./quirks.js";
import type { Exposure } from "./report-types.js";

const CITE_EXTERNAL = "ACPI property ExternalFacingPort; device tree external-facing";
const CITE_UNTRUSTED = "Linux pci_dev.untrusted";

/** `undefined` fields: the capture does not say which ports lead outside. */
export function exposureOf(fn: PciFunction, facts: HostFacts): Exposure {
  const { externalFacing } = fn.description;
  const untrusted = untrustedOf(fn, facts);
  const because: Evidence[] = [];
  if (externalFacing === true) {
    because.push({ kind: "external-facing", at: fn.bdf, cite: CITE_EXTERNAL });
  }
  if (untrusted === true) {
    const port = externalPortAbove(fn);
    because.push({ kind: "untrusted", at: fn.bdf, with: port?.bdf, cite: CITE_UNTRUSTED });
  }
  return { externalFacing, untrusted, because };
}

/**
 * Only x86 knows tunnels; an unknown architecture leaves a device below an external port undecided.
 */
export function untrustedOf(fn: PciFunction, facts: HostFacts): boolean | undefined {
  const { architecture } = facts;
  if (architecture !== undefined) return isUntrusted(fn, architecture === "x86");
  const onX86 = isUntrusted(fn, true);
  return onX86 === isUntrusted(fn, false) ? onX86 : undefined;
}

function externalPortAbove(fn: PciFunction): PciFunction | undefined {
  for (let at = fn.upstreamBridge; at !== undefined; at = at.upstreamBridge) {
    if (at.description.externalFacing === true) return at;
  }
  return undefined;
}
