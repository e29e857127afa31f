/** IOMMU drivers and the port that the object layer uses them through. */
export * from "./dma-ownership.js";
export * from "./driver-port.js";
