/** Endpoints: devices that do what they are told, and stubs for captured ones. */
export * from "./controls.js";
export * from "./device-tlb.js";
export * from "./dma-engine/index.js";
export type * from "./endpoint.js";
export * from "./msi-sender.js";
export * from "./msix-table.js";
export * from "./plain-bar.js";
export * from "./stub-endpoint.js";
export * from "./transaction.js";
