/** Legacy VFIO: groups and containers, on the objects of /dev/iommu. */
export * from "./container.js";
export * from "./group.js";
export * from "./group-device.js";
export * from "./groups.js";
export type * from "./ports.js";
export { TYPE1_MAPPINGS_MAX } from "./type1-maps.js";
