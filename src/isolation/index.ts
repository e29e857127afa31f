/** Requester IDs, alias sets, isolation groups and the P2P graph, each computed from evidence. */

export * from "./dma-alias.js";
export * from "./evidence.js";
export type * from "./host-facts.js";
export type * from "./p2p-graph-types.js";
export * from "./partition.js";
export * from "./quirks.js";
export * from "./quirks-ids.js";
export type * from "./report-types.js";
export * from "./rules/index.js";
