/** The objects of /dev/iommu: address spaces, page tables, devices, queues. */
export * from "./limits.js";
