/** IOMMU hardware: what a unit does with a request that reaches it. */
export * from "./iommu.js";
export type * from "./iommu-ports.js";
export * from "./translation.js";
