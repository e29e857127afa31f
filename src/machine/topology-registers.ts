/** Which configuration registers decide how transactions travel. */
import {
  CapabilityId,
  ExtendedCapabilityId,
  listCapabilityEntries,
  type PciFunction,
} from "../pcie/index.js";

/** Registers behind which nothing but the function itself is concerned. */
const PRIVATE_STANDARD: ReadonlySet<number> = new Set([
  CapabilityId.Msi,
  CapabilityId.MsiX,
  CapabilityId.PowerManagement,
]);
const PRIVATE_EXTENDED: ReadonlySet<number> = new Set([
  ExtendedCapabilityId.Ats,
  ExtendedCapabilityId.Pri,
  ExtendedCapabilityId.Pasid,
  ExtendedCapabilityId.Aer,
]);

/** True unless every byte lies in a capability that routing does not look at. */
export function changesRouting(fn: PciFunction, offset: number, length: number): boolean {
  let owner: { id: number; extended: boolean; offset: number } | undefined;
  for (const entry of listCapabilityEntries(fn.config)) {
    if (entry.offset > offset || entry.extended !== offset >= 0x100) continue;
    if (owner === undefined || entry.offset > owner.offset) owner = entry;
  }
  if (owner === undefined || offset + length > owner.offset + 0x40) return true;
  const own = owner.extended ? PRIVATE_EXTENDED : PRIVATE_STANDARD;
  return !own.has(owner.id);
}
