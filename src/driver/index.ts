/** IOMMU drivers and the port that the object layer uses them through. */
export * from "./dma-ownership.js";
export type * from "./device-driver.js";
export * from "./driver-port.js";
export * from "./radix.js";
export * from "./radix-format.js";
export * from "./table-frames.js";
export * from "./vtd/page-formats.js";
