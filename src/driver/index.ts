/** IOMMU drivers and the port that the object layer uses them through. */
export * from "./analysed-host.js";
export type * from "./device-driver.js";
export * from "./device-features.js";
export * from "./dma-ownership.js";
export type * from "./driver-host.js";
export * from "./driver-port.js";
export * from "./host-driver.js";
export * from "./machine-host.js";
export * from "./radix.js";
export * from "./radix-format.js";
export * from "./single/single-domain.js";
export * from "./single/single-driver.js";
export * from "./table-frames.js";
export * from "./vtd/interrupt-table.js";
export * from "./vtd/nested-domain.js";
export * from "./vtd/page-formats.js";
export * from "./vtd/paging-domain.js";
export * from "./vtd/vtd-driver.js";
