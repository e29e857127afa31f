/** The checklist for a host without an IOMMU in use, in words. */
import type { IommuCheck } from "../isolation/index.js";

/** One sentence that says what was looked at, what was found, and what to do where it failed. */
export function checkText(check: IommuCheck): string {
  const { state, detail } = check;
  switch (check.check) {
    case "table":
      if (state === "good") return `The firmware has a table of IOMMUs (${detail}).`;
      return detail === undefined
        ? "No DMAR, IVRS, IORT or VIOT table was captured. Reading it needs root; if there is " +
            "none, " +
            "switch VT-d, AMD-Vi or SMMU on in the firmware setup."
        : `This host has a device tree: look for ${detail} at its PCI host bridges.`;
    case "units":
      return state === "good"
        ? `The table has ${detail} IOMMU unit(s).`
        : "The table has no IOMMU unit: switch VT-d, AMD-Vi or SMMU on in the firmware setup.";
    case "options":
      return optionsText(state, detail);
    case "driver":
      return `The kernel's IOMMU driver rules this host out (${check.cite}).`;
    case "scope":
      return state === "good"
        ? `The table's units cover ${detail}.`
        : `The table's units cover ${detail}: a firmware setting or update decides that.`;
    case "in-use":
      return inUseText(state);
  }
}

function optionsText(state: IommuCheck["state"], detail: string | undefined): string {
  if (state === "bad") return `The kernel command line switches the IOMMU off: ${detail}.`;
  if (state === "good") {
    return detail === undefined
      ? "The kernel command line does not switch the IOMMU off."
      : `The kernel command line switches the IOMMU on: ${detail}.`;
  }
  return (
    "The kernel command line is not known, or leaves it to the kernel's default: " +
    `${detail ?? "intel_iommu=on"} switches it on.`
  );
}

function inUseText(state: IommuCheck["state"]): string {
  if (state === "good") return "The kernel said that it uses the IOMMU.";
  return state === "bad"
    ? "The kernel uses no IOMMU: /sys/class/iommu and /sys/kernel/iommu_groups are empty."
    : "Nothing captured says whether the kernel uses an IOMMU (dmesg and /sys/class/iommu do).";
}
