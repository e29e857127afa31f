/** Requester IDs, alias sets, isolation groups and the P2P graph, each computed from evidence. */

export * from "./acs-boot.js";
export * from "./acs-options.js";
export * from "./acs-test.js";
export * from "./dma-alias.js";
export * from "./evidence.js";
export type * from "./host-facts.js";
export * from "./iommu-active.js";
export * from "./iommu-scope.js";
export * from "./linux-groups.js";
export * from "./p2p-graph.js";
export * from "./p2p-graph-reach.js";
export type * from "./p2p-graph-types.js";
export * from "./partition.js";
export * from "./quirks.js";
export * from "./quirks-acs.js";
export * from "./quirks-ids.js";
export type * from "./report-types.js";
export * from "./rules/index.js";
export * from "./vmd-domains.js";
