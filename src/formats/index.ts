/** Bit layouts of hardware structures: constants, and accessors over 32-bit words. */
export * from "./layout.js";
export * from "./vtd-context.js";
export * from "./vtd-fault.js";
export * from "./vtd-interrupt.js";
export * from "./vtd-page-request.js";
export * from "./vtd-paging.js";
export * from "./vtd-pasid.js";
export * from "./vtd-queue.js";
export * from "./vtd-registers.js";
