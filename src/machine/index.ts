/** A host that runs: fabric, IOMMU units, memory and devices wired together. */
export * from "./delivery.js";
export * from "./machine.js";
export * from "./machine-unit.js";
export * from "./make-unit.js";
export * from "./slot-map.js";
export type * from "./trace.js";
export type { DeliveredInterrupt, Transaction } from "./transaction-path.js";
