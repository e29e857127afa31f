/** The objects of /dev/iommu: address spaces, page tables, devices, queues. */
export * from "./access.js";
export * from "./api.js";
export type { AttachArgs } from "./attach-calls.js";
export * from "./device.js";
export * from "./event-queue.js";
export * from "./fault.js";
export * from "./hw-pagetable.js";
export * from "./ioas.js";
export type { IovaRanges } from "./ioas-calls.js";
export * from "./iommufd.js";
export * from "./limits.js";
export type { IommufdObject, ObjectKind } from "./object-table.js";
export type * from "./ports.js";
export { HardwareCap } from "./report.js";
export type { Attachment, Slot } from "./slot.js";
export type { NestedMapArgs, ParentUnmapPolicy } from "./software-nesting.js";
export * from "./vdevice.js";
export * from "./viommu.js";
