/** Open files, calls, and what they need from whoever moves the calls. */
export type * from "./dma-buf.js";
export type * from "./host-files.js";
export * from "./open-file.js";
export type * from "./page-source.js";
export * from "./shared-memory.js";
export type * from "./user-memory.js";
export type * from "./user-process.js";
