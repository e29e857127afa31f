/** Physical memory: sparse frames, who owns them, and what a broken one does. */
export * from "./address.js";
export * from "./allocation-port.js";
export * from "./backing-object.js";
export type { FrameDirectory } from "./frame-directory.js";
export * from "./memory-status.js";
export * from "./physical-memory.js";
export type * from "./physical-memory-types.js";
