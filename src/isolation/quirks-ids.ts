/**
 * Who a function is, as far as quirk tables ask: the ids it has, or the ids its captured name may
 * stand for.
 *
 * A question about ids is put to every candidate. Equal answers are an answer; different ones are
 * not, and the caller says so (evidence "quirk-not-tested").
 */
import type { PciFunction } from "../pcie/index.js";

/** Vendor and device in one number: vendor * 65536 + device. */
export type Identity = number;

const NONE: readonly Identity[] = [];

/**
 * Stands for a device of a known vendor whose captured name is none of the names that the ids of
 * any table have: readers of names know those names, so only rows about all ids of the vendor
 * apply. No device has this id.
 */
const UNLISTED = 0xffff;

/**
 * Every id the function may have: one when it is known, several when only an ambiguous name was
 * captured, none when nothing identifies it. A VF has its PF's vendor and the device id of the PF's
 * SR-IOV capability (PCIe 6 § 9.3.3.11, § 9.3.4.1.1).
 */
export function identities(fn: PciFunction): readonly Identity[] {
  const sole = soleIdentity(fn);
  if (sole !== undefined) return [sole];
  const vendor = real(fn.ids.vendor);
  const device = real(fn.ids.device);
  const pf = fn.physfn;
  const pfVendor = real(pf?.ids.vendor);
  const vfDevice = real(pf?.sriov?.vfDeviceId);
  if (fn.isVirtual && pfVendor !== undefined && vfDevice !== undefined) {
    return [pfVendor * 65536 + vfDevice];
  }
  const { candidates } = fn.description;
  if (candidates !== undefined) return candidates.map((c) => c.vendor * 65536 + c.device);
  return vendor === undefined || device !== undefined ? NONE : [vendor * 65536 + UNLISTED];
}

/** The one id of a function that is identified; undefined otherwise. Without allocation. */
export function soleIdentity(fn: PciFunction): Identity | undefined {
  const { vendor, device } = fn.ids;
  if (vendor === undefined || vendor === 0xffff || device === undefined || device === 0xffff) {
    return undefined;
  }
  return vendor * 65536 + device;
}

/** The answer all identities agree on; "differ" when they do not; "nobody" when there is none. */
export function agreed<T>(
  fn: PciFunction,
  ask: (id: Identity) => T,
  same: (a: T, b: T) => boolean,
): { readonly answer: T } | "differ" | "nobody" {
  const all = identities(fn);
  const [first, ...rest] = all;
  if (first === undefined) return "nobody";
  const answer = ask(first);
  for (const id of rest) if (!same(answer, ask(id))) return "differ";
  return { answer };
}

/** True or false when all identities agree, undefined otherwise. */
export function allAre(fn: PciFunction, test: (id: Identity) => boolean): boolean | undefined {
  const sole = soleIdentity(fn);
  if (sole !== undefined) return test(sole);
  const result = agreed(fn, test, (a, b) => a === b);
  return typeof result === "string" ? undefined : result.answer;
}

/** Some identity passes. */
export function mayBe(fn: PciFunction, test: (id: Identity) => boolean): boolean {
  const sole = soleIdentity(fn);
  return sole === undefined ? identities(fn).some(test) : test(sole);
}

/** ffff is what an absent or virtual function's id register reads. */
function real(id: number | undefined): number | undefined {
  return id === 0xffff ? undefined : id;
}
