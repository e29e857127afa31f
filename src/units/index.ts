/** Numbers with names: addresses in the topology, requester IDs, PASIDs, spans of bus addresses. */
export * from "./bdf.js";
export * from "./bits.js";
export type * from "./brand.js";
export * from "./input-error.js";
export * from "./number-map.js";
export * from "./pasid.js";
export * from "./span.js";
