/** The objects of /dev/iommu: address spaces, page tables, devices, queues. */
export * from "./api.js";
export * from "./limits.js";
export type * from "./ports.js";
